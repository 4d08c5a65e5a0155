# Metric 3, viral coefficient of each UTC day. A share that was viewed on two days counts on both, so days do not add
# up: the coefficient of a span of days is in the view viral_share_days.
view: viral_coefficient_daily {
  sql_table_name: `@{dataset}.viral_coefficient_daily` ;;

  dimension_group: event {
    type: time
    description: "UTC day."
    timeframes: [raw, date, week, month, quarter, year]
    datatype: date
    convert_tz: no
    sql: ${TABLE}.event_date ;;
  }

  dimension: new_wishlists {
    type: number
    description: "Wishlists that were made to hold an item of a shared list."
    hidden: yes
    sql: ${TABLE}.new_wishlists ;;
  }

  dimension: shares_with_views {
    type: number
    description: "Shares that a person viewed on the day."
    hidden: yes
    sql: ${TABLE}.shares_with_views ;;
  }

  dimension: viral_coefficient {
    type: number
    description: "new_wishlists / shares_with_views. Not to be averaged."
    hidden: yes
    sql: ${TABLE}.viral_coefficient ;;
  }

  measure: total_new_wishlists {
    type: sum
    label: "New wishlists"
    description: "Wishlists that were made to hold an item of a shared list; each is made once."
    sql: ${new_wishlists} ;;
    value_format_name: decimal_0
  }

  measure: shares_with_views_of_day {
    type: number
    label: "Shares with views of the day"
    description: "Shares that a person viewed on the day. Empty over more days: shares recur."
    sql: IF(COUNT(*) = 1, MAX(${shares_with_views}), NULL) ;;
    value_format_name: decimal_0
  }

  measure: viral_coefficient_of_day {
    type: number
    label: "Viral coefficient of the day"
    description: "New wishlists / shares with views. Empty over more days: see Viral Coefficient by Span."
    sql: IF(COUNT(*) = 1, MAX(${viral_coefficient}), NULL) ;;
    value_format_name: decimal_3
  }
}
