# Tile 2, share engagement over time.
view: share_engagement_daily {
  sql_table_name: `@{dataset}.share_engagement_daily` ;;

  dimension_group: event {
    type: time
    description: "UTC day."
    timeframes: [raw, date, week, month, quarter, year]
    datatype: date
    convert_tz: no
    sql: ${TABLE}.event_date ;;
  }

  dimension: share_channel {
    type: string
    description: "Channel that the share was made for."
    sql: ${TABLE}.share_channel ;;
  }

  dimension: platform {
    type: string
    description: "Platform of who acted: the owner who shared, the person who viewed or added."
    sql: ${TABLE}.platform ;;
  }

  dimension: shares_created {
    type: number
    description: "Shares made."
    hidden: yes
    sql: ${TABLE}.shares_created ;;
  }

  dimension: shares_viewed {
    type: number
    description: "Views by people."
    hidden: yes
    sql: ${TABLE}.shares_viewed ;;
  }

  dimension: raw_shares_viewed {
    type: number
    description: "Views by anybody, programs included."
    hidden: yes
    sql: ${TABLE}.raw_shares_viewed ;;
  }

  dimension: items_added_from_shares {
    type: number
    description: "Items added from shared lists."
    hidden: yes
    sql: ${TABLE}.items_added_from_shares ;;
  }

  measure: total_shares_created {
    type: sum
    label: "Shares created"
    description: "Shares made."
    sql: ${shares_created} ;;
    value_format_name: decimal_0
  }

  measure: total_shares_viewed {
    type: sum
    label: "Shares viewed"
    description: "Views by people."
    sql: ${shares_viewed} ;;
    value_format_name: decimal_0
  }

  measure: total_raw_shares_viewed {
    type: sum
    label: "Shares viewed, programs included"
    description: "Views by anybody, programs included."
    sql: ${raw_shares_viewed} ;;
    value_format_name: decimal_0
  }

  measure: total_items_added_from_shares {
    type: sum
    label: "Items added from shares"
    description: "Items added from shared lists."
    sql: ${items_added_from_shares} ;;
    value_format_name: decimal_0
  }
}
