# Metric 1, share creation rate. Whoever shares on two days is among the people of both, so the people of a span of
# days are not the sum of its days: what counts people stands for one day only.
view: share_creation_daily {
  sql_table_name: `@{dataset}.share_creation_daily` ;;

  dimension_group: event {
    type: time
    description: "UTC day."
    timeframes: [raw, date, week, month, quarter, year]
    datatype: date
    convert_tz: no
    sql: ${TABLE}.event_date ;;
  }

  dimension: shares_created {
    type: number
    description: "Shares made on the day."
    hidden: yes
    sql: ${TABLE}.shares_created ;;
  }

  dimension: sharing_users {
    type: number
    description: "People who made a share on the day."
    hidden: yes
    sql: ${TABLE}.sharing_users ;;
  }

  dimension: shares_per_user {
    type: number
    description: "Shares of the day for each person who made one on it."
    hidden: yes
    sql: ${TABLE}.shares_per_user ;;
  }

  measure: total_shares_created {
    type: sum
    label: "Shares created"
    description: "Shares made."
    sql: ${shares_created} ;;
    value_format_name: decimal_0
  }

  measure: sharing_users_of_day {
    type: number
    label: "Sharing users of the day"
    description: "People who made a share on the day. Empty over more days: people recur."
    sql: IF(COUNT(*) = 1, MAX(${sharing_users}), NULL) ;;
    value_format_name: decimal_0
  }

  measure: shares_per_user_of_day {
    type: number
    label: "Shares per user of the day"
    description: "Shares for each person who made one on the day. Empty over more days: people recur."
    sql: IF(COUNT(*) = 1, MAX(${shares_per_user}), NULL) ;;
    value_format_name: decimal_2
  }
}
