# Metric 3, viral coefficient over all time. There is one row, so that a sum is the row itself.
view: viral_coefficient {
  sql_table_name: `@{dataset}.viral_coefficient` ;;

  dimension: new_wishlists {
    type: number
    description: "Wishlists that were ever made to hold an item of a shared list."
    hidden: yes
    sql: ${TABLE}.new_wishlists ;;
  }

  dimension: shares_with_views {
    type: number
    description: "Shares that a person ever viewed."
    hidden: yes
    sql: ${TABLE}.shares_with_views ;;
  }

  dimension: viral_coefficient {
    type: number
    description: "new_wishlists / shares_with_views."
    hidden: yes
    sql: ${TABLE}.viral_coefficient ;;
  }

  measure: total_new_wishlists {
    type: sum
    label: "New wishlists"
    description: "Wishlists that were ever made to hold an item of a shared list."
    sql: ${new_wishlists} ;;
    value_format_name: decimal_0
  }

  measure: total_shares_with_views {
    type: sum
    label: "Shares with views"
    description: "Shares that a person ever viewed."
    sql: ${shares_with_views} ;;
    value_format_name: decimal_0
  }

  measure: overall_viral_coefficient {
    type: number
    label: "Viral coefficient"
    description: "New wishlists / shares with views, over all time. The target is above 0.1."
    sql: ${total_new_wishlists} / NULLIF(${total_shares_with_views}, 0) ;;
    value_format_name: decimal_3
  }
}
