# Metric 7, time from the creation of each share to the last view by a person. Every share is one row and weighs the
# same, so that a mean over shares is right.
view: share_link_lifespan {
  sql_table_name: `@{dataset}.share_link_lifespan` ;;

  dimension: share_id {
    primary_key: yes
    type: string
    description: "The share."
    sql: ${TABLE}.share_id ;;
  }

  dimension: share_channel {
    type: string
    description: "Channel that the share was made for."
    sql: ${TABLE}.share_channel ;;
  }

  dimension_group: created {
    type: time
    description: "When the share was made, in UTC."
    timeframes: [raw, time, date, week, month, quarter, year]
    datatype: timestamp
    convert_tz: no
    sql: ${TABLE}.created_at ;;
  }

  dimension_group: last_viewed {
    type: time
    description: "When a person viewed the share last, in UTC; empty where nobody has."
    timeframes: [raw, time, date, week, month, quarter, year]
    datatype: timestamp
    convert_tz: no
    sql: ${TABLE}.last_viewed_at ;;
  }

  dimension: lifespan_hours {
    type: number
    description: "Hours from the share's creation to the last view by a person."
    hidden: yes
    sql: ${TABLE}.lifespan_hours ;;
  }

  dimension: raw_lifespan_hours {
    type: number
    description: "Hours from the share's creation to the last view by anybody, programs included."
    hidden: yes
    sql: ${TABLE}.raw_lifespan_hours ;;
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

  measure: shares {
    type: count
    label: "Shares"
    description: "Shares, those included that nobody has viewed."
  }

  measure: shares_with_lifespan {
    type: count
    label: "Shares with a lifespan"
    description: "Shares that a person has viewed."
    filters: [lifespan_hours: "NOT NULL"]
  }

  measure: average_lifespan_hours {
    type: average
    label: "Mean lifespan (hours)"
    description: "Mean over the shares that a person has viewed."
    sql: ${lifespan_hours} ;;
    value_format_name: decimal_1
  }

  measure: median_lifespan_hours {
    type: median
    label: "Median lifespan (hours)"
    description: "Median over the shares that a person has viewed."
    sql: ${lifespan_hours} ;;
    value_format_name: decimal_1
  }

  measure: average_raw_lifespan_hours {
    type: average
    label: "Mean lifespan (hours), programs included"
    description: "Mean over the shares that anybody has viewed, programs included."
    sql: ${raw_lifespan_hours} ;;
    value_format_name: decimal_1
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
