# Metric 2, share conversion rate. converting_views counts a person once for each share and day, so days add up;
# unique_viewers is of people, and a person of two days is counted in both: it stands for one day only.
view: share_conversion_daily {
  sql_table_name: `@{dataset}.share_conversion_daily` ;;

  dimension_group: event {
    type: time
    description: "UTC day of the view, or of the adding."
    timeframes: [raw, date, week, month, quarter, year]
    datatype: date
    convert_tz: no
    sql: ${TABLE}.event_date ;;
  }

  dimension: views {
    type: number
    description: "Views by people."
    hidden: yes
    sql: ${TABLE}.views ;;
  }

  dimension: raw_views {
    type: number
    description: "Views by anybody, programs included."
    hidden: yes
    sql: ${TABLE}.raw_views ;;
  }

  dimension: unique_viewers {
    type: number
    description: "People who viewed, each once for each share."
    hidden: yes
    sql: ${TABLE}.unique_viewers ;;
  }

  dimension: converting_views {
    type: number
    description: "People who added at least one item, each once for each share."
    hidden: yes
    sql: ${TABLE}.converting_views ;;
  }

  dimension: conversion_rate {
    type: number
    description: "converting_views / views. Of one row: not to be averaged."
    hidden: yes
    sql: ${TABLE}.conversion_rate ;;
  }

  measure: total_views {
    type: sum
    label: "Views"
    description: "Views by people."
    sql: ${views} ;;
    value_format_name: decimal_0
  }

  measure: total_raw_views {
    type: sum
    label: "Views, programs included"
    description: "Views by anybody, programs included."
    sql: ${raw_views} ;;
    value_format_name: decimal_0
  }

  measure: total_converting_views {
    type: sum
    label: "Converting views"
    description: "People who added at least one item, each once for each share and day."
    sql: ${converting_views} ;;
    value_format_name: decimal_0
  }

  measure: overall_conversion_rate {
    type: number
    label: "Conversion rate"
    description: "All converting views / all views by people."
    sql: ${total_converting_views} / NULLIF(${total_views}, 0) ;;
    value_format_name: percent_1
  }

  measure: unique_viewers_of_day {
    type: number
    label: "Unique viewers of the day"
    description: "People who viewed, each once for each share. Empty over more days: people recur."
    sql: IF(COUNT(*) = 1, MAX(${unique_viewers}), NULL) ;;
    value_format_name: decimal_0
  }
}
