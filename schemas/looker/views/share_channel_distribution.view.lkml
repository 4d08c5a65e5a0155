# Metric 5 and tile 4, shares by channel.
view: share_channel_distribution {
  sql_table_name: `@{dataset}.share_channel_distribution` ;;

  dimension_group: event {
    type: time
    description: "UTC day on which the share was made."
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

  dimension: shares {
    type: number
    description: "Shares made."
    hidden: yes
    sql: ${TABLE}.shares ;;
  }

  dimension: part_of_day {
    type: number
    description: "The channel's part of the day's shares. Not to be summed or averaged over days."
    hidden: yes
    sql: ${TABLE}.part_of_day ;;
  }

  measure: total_shares {
    type: sum
    label: "Shares"
    description: "Shares made."
    sql: ${shares} ;;
    value_format_name: decimal_0
  }

  measure: part_of_shares {
    type: percent_of_total
    label: "Part of shares"
    description: "The row's part of all shares in the result."
    sql: ${total_shares} ;;
  }
}
