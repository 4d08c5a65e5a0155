# Metric 4, items added on each UTC day. A share that was added from on two days counts on both, so the shares of a
# span of days are not the sum of its days: items_added_by_share has them over all time.
view: items_added_daily {
  sql_table_name: `@{dataset}.items_added_daily` ;;

  dimension_group: event {
    type: time
    description: "UTC day."
    timeframes: [raw, date, week, month, quarter, year]
    datatype: date
    convert_tz: no
    sql: ${TABLE}.event_date ;;
  }

  dimension: items_added {
    type: number
    description: "Items added from shared lists on the day."
    hidden: yes
    sql: ${TABLE}.items_added ;;
  }

  dimension: shares_with_adds {
    type: number
    description: "Shares that an item was added from on the day."
    hidden: yes
    sql: ${TABLE}.shares_with_adds ;;
  }

  dimension: items_added_per_share {
    type: number
    description: "Items added on the day for each share that one was added from."
    hidden: yes
    sql: ${TABLE}.items_added_per_share ;;
  }

  measure: total_items_added {
    type: sum
    label: "Items added"
    description: "Items added from shared lists."
    sql: ${items_added} ;;
    value_format_name: decimal_0
  }

  measure: shares_with_adds_of_day {
    type: number
    label: "Shares with adds of the day"
    description: "Shares that an item was added from. Empty over more days: shares recur."
    sql: IF(COUNT(*) = 1, MAX(${shares_with_adds}), NULL) ;;
    value_format_name: decimal_0
  }

  measure: items_added_per_share_of_day {
    type: number
    label: "Items added per share of the day"
    description: "Items for each share that one was added from. Empty over more days: shares recur."
    sql: IF(COUNT(*) = 1, MAX(${items_added_per_share}), NULL) ;;
    value_format_name: decimal_2
  }
}
