# Metric 6, views by country.
view: geographic_distribution_daily {
  sql_table_name: `@{dataset}.geographic_distribution_daily` ;;

  dimension_group: event {
    type: time
    description: "UTC day."
    timeframes: [raw, date, week, month, quarter, year]
    datatype: date
    convert_tz: no
    sql: ${TABLE}.event_date ;;
  }

  dimension: country {
    type: string
    map_layer_name: countries
    description: "ISO 3166 code of the country that the request came from; empty where the edge did not tell."
    sql: ${TABLE}.country ;;
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
}
