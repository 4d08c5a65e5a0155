# Metric 8, revocation rate of the shares made on each UTC day. A share is made once and revoked once: days add up.
view: revocation_daily {
  sql_table_name: `@{dataset}.revocation_daily` ;;

  dimension_group: event {
    type: time
    description: "UTC day on which the shares were made; they may have been revoked on a later one."
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

  dimension: shares_revoked {
    type: number
    description: "Shares made on the day that their owners have revoked since."
    hidden: yes
    sql: ${TABLE}.shares_revoked ;;
  }

  dimension: revocation_rate {
    type: number
    description: "shares_revoked / shares_created. Of one row: not to be averaged."
    hidden: yes
    sql: ${TABLE}.revocation_rate ;;
  }

  measure: total_shares_created {
    type: sum
    label: "Shares created"
    description: "Shares made."
    sql: ${shares_created} ;;
    value_format_name: decimal_0
  }

  measure: total_shares_revoked {
    type: sum
    label: "Shares revoked"
    description: "Shares made in the time chosen that their owners have revoked since, whenever that was."
    sql: ${shares_revoked} ;;
    value_format_name: decimal_0
  }

  measure: overall_revocation_rate {
    type: number
    label: "Revocation rate"
    description: "All shares revoked / all shares made."
    sql: ${total_shares_revoked} / NULLIF(${total_shares_created}, 0) ;;
    value_format_name: percent_1
  }
}
