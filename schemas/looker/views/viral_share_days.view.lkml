# Metric and tile 3, viral coefficient of any span of days. It counts shares and wishlists themselves, so that a share
# which was viewed on many days counts once: the sum of viral_coefficient_daily would count it on each.
view: viral_share_days {
  sql_table_name: `@{dataset}.viral_share_days` ;;

  # Chooses the span of days, with the same number of days before it to compare with. A filter on the day itself would
  # take those away.
  filter: span {
    type: date
    label: "Span of days"
    description: "Days that the measures in the span are of; those before the span end where it begins."
    datatype: date
    convert_tz: no
  }

  dimension_group: event {
    type: time
    description: "UTC day."
    timeframes: [raw, date, week, month, quarter, year]
    datatype: date
    convert_tz: no
    sql: ${TABLE}.event_date ;;
  }

  dimension: share_id {
    type: string
    description: "The share."
    sql: ${TABLE}.share_id ;;
  }

  dimension: new_wishlist_id {
    type: string
    description: "Wishlist that an item of the share made somebody begin; empty in the row of the views."
    sql: ${TABLE}.new_wishlist_id ;;
  }

  dimension: views {
    type: number
    description: "Views by people of the share on the day."
    hidden: yes
    sql: ${TABLE}.views ;;
  }

  # An open span ("before 1 May") has no start or no end: then nothing is before it, and the coefficient there is empty.
  dimension: part_of_time {
    type: string
    description: "In the span of days chosen (in_span), or before it for as long (before_span)."
    hidden: yes
    sql:
      CASE
        WHEN ${TABLE}.event_date >= COALESCE(CAST({% date_start span %} AS DATE), DATE '1970-01-01')
          AND ${TABLE}.event_date < COALESCE(CAST({% date_end span %} AS DATE), DATE '9999-12-31')
          THEN 'in_span'
        WHEN ${TABLE}.event_date < CAST({% date_start span %} AS DATE)
          AND DATE_DIFF(CAST({% date_start span %} AS DATE), ${TABLE}.event_date, DAY)
            <= DATE_DIFF(CAST({% date_end span %} AS DATE), CAST({% date_start span %} AS DATE), DAY)
          THEN 'before_span'
      END
    ;;
  }

  measure: new_wishlists {
    type: count_distinct
    label: "New wishlists"
    description: "Wishlists that were made to hold an item of a shared list."
    sql: ${new_wishlist_id} ;;
    value_format_name: decimal_0
  }

  measure: shares_with_views {
    type: count_distinct
    label: "Shares with views"
    description: "Shares that a person viewed, each once."
    filters: [views: ">0"]
    sql: ${share_id} ;;
    value_format_name: decimal_0
  }

  measure: overall_viral_coefficient {
    type: number
    label: "Viral coefficient"
    description: "New wishlists / shares with views. The target is above 0.1."
    sql: ${new_wishlists} / NULLIF(${shares_with_views}, 0) ;;
    value_format_name: decimal_3
  }

  measure: new_wishlists_in_span {
    type: count_distinct
    description: "New wishlists in the span of days."
    hidden: yes
    filters: [part_of_time: "in_span"]
    sql: ${new_wishlist_id} ;;
  }

  measure: shares_with_views_in_span {
    type: count_distinct
    description: "Shares with views in the span of days."
    hidden: yes
    filters: [part_of_time: "in_span", views: ">0"]
    sql: ${share_id} ;;
  }

  measure: viral_coefficient_in_span {
    type: number
    label: "Viral coefficient in the span"
    description: "New wishlists / shares with views in the span of days. The target is above 0.1."
    sql: ${new_wishlists_in_span} / NULLIF(${shares_with_views_in_span}, 0) ;;
    value_format_name: decimal_3
  }

  measure: new_wishlists_before_span {
    type: count_distinct
    description: "New wishlists in as many days before the span."
    hidden: yes
    filters: [part_of_time: "before_span"]
    sql: ${new_wishlist_id} ;;
  }

  measure: shares_with_views_before_span {
    type: count_distinct
    description: "Shares with views in as many days before the span."
    hidden: yes
    filters: [part_of_time: "before_span", views: ">0"]
    sql: ${share_id} ;;
  }

  measure: viral_coefficient_before_span {
    type: number
    label: "Viral coefficient before the span"
    description: "New wishlists / shares with views in as many days before the span."
    sql: ${new_wishlists_before_span} / NULLIF(${shares_with_views_before_span}, 0) ;;
    value_format_name: decimal_3
  }
}
