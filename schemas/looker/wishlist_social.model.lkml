connection: "@{connection}"
label: "Wishlist Social"

include: "views/*.view.lkml"
include: "dashboards/*.dashboard.lookml"

week_start_day: monday

# The reference data behind the views is at most an hour old, and so are the dashboard's tiles.
persist_for: "1 hour"

explore: share_funnel_daily {
  label: "Share Creation Funnel"
  description: "Buttons seen, shares begun and shares made, by day, platform and channel."
}

explore: share_engagement_daily {
  label: "Share Engagement"
  description: "Shares made, viewed and added from, by day, channel and platform."
}

explore: viral_share_days {
  label: "Viral Coefficient by Span"
  description: "Viral coefficient of any span of days, beside that of as many days before."
}

explore: viral_coefficient_daily {
  label: "Viral Coefficient by Day"
  description: "Viral coefficient of each day."
}

explore: viral_coefficient {
  label: "Viral Coefficient"
  description: "Viral coefficient over all time."
}

explore: productive_shares_per_user {
  label: "Productive Shares per User"
  description: "Shares that made somebody begin a wishlist for each person who shared, over all time."
}

explore: share_creation_daily {
  label: "Share Creation"
  description: "Shares made and the people who made them, by day."
}

explore: share_conversion_daily {
  label: "Share Conversion"
  description: "Views and the people who added an item, by day."
}

explore: items_added_daily {
  label: "Items Added by Day"
  description: "Items added from shared lists, by day."
}

explore: items_added_by_share {
  label: "Items Added by Share"
  description: "Items added from each share, over all time."
}

explore: share_channel_distribution {
  label: "Share Channel Distribution"
  description: "Shares made, by day and channel."
}

explore: geographic_distribution_daily {
  label: "Views by Country"
  description: "Views by day and country."
}

explore: views_per_100k_users {
  label: "Geographic Distribution"
  description: "Views for 100,000 users, by day and country."
}

explore: share_link_lifespan {
  label: "Share Link Lifespan"
  description: "Time from the creation of each share to its last view."
}

explore: revocation_daily {
  label: "Revocation"
  description: "Shares revoked of those made on each day."
}

explore: shared_products_daily {
  label: "Shared Products"
  description: "Products in shares, by day."

  join: products {
    type: left_outer
    relationship: many_to_one
    sql_on: ${shared_products_daily.product_id} = ${products.product_id} ;;
  }
}

explore: top_shared_products {
  label: "Top Shared Products"
  description: "The 20 products that were shared most, over all time."
}
