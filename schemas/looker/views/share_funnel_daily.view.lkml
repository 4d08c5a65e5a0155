# Tile 1, share creation funnel. A button that is seen has no channel yet: its views stand in rows of their own,
# without one. By channel there is hence no initiation rate.
view: share_funnel_daily {
  sql_table_name: `@{dataset}.share_funnel_daily` ;;

  dimension_group: event {
    type: time
    description: "UTC day."
    timeframes: [raw, date, week, month, quarter, year]
    datatype: date
    convert_tz: no
    sql: ${TABLE}.event_date ;;
  }

  dimension: platform {
    type: string
    description: "Platform of who saw the button or shared."
    sql: ${TABLE}.platform ;;
  }

  dimension: share_channel {
    type: string
    description: "Channel that the share was begun for; empty in the rows of the buttons seen."
    sql: ${TABLE}.share_channel ;;
  }

  dimension: buttons_viewed {
    type: number
    description: "Share buttons seen."
    hidden: yes
    sql: ${TABLE}.buttons_viewed ;;
  }

  dimension: initiated {
    type: number
    description: "Shares begun."
    hidden: yes
    sql: ${TABLE}.initiated ;;
  }

  dimension: completed {
    type: number
    description: "Shares made."
    hidden: yes
    sql: ${TABLE}.completed ;;
  }

  dimension: initiation_rate {
    type: number
    description: "Of the day and platform, over all channels: not to be averaged."
    hidden: yes
    sql: ${TABLE}.initiation_rate ;;
  }

  dimension: completion_rate {
    type: number
    description: "completed / initiated. Of one row: not to be averaged."
    hidden: yes
    sql: ${TABLE}.completion_rate ;;
  }

  measure: total_buttons_viewed {
    type: sum
    label: "Button viewed"
    description: "Share buttons seen, whatever channel was chosen afterwards."
    sql: ${buttons_viewed} ;;
    value_format_name: decimal_0
  }

  measure: total_initiated {
    type: sum
    label: "Initiated"
    description: "Shares begun."
    sql: ${initiated} ;;
    value_format_name: decimal_0
  }

  measure: total_completed {
    type: sum
    label: "Completed"
    description: "Shares made."
    sql: ${completed} ;;
    value_format_name: decimal_0
  }

  measure: overall_initiation_rate {
    type: number
    label: "Initiation rate"
    description: "Shares begun / buttons seen; about 8 % is expected. Empty by channel: buttons have none."
    sql:
      {% if share_funnel_daily.share_channel._in_query %} CAST(NULL AS FLOAT64)
      {% else %} ${total_initiated} / NULLIF(${total_buttons_viewed}, 0) {% endif %}
    ;;
    value_format_name: percent_1
  }

  measure: overall_completion_rate {
    type: number
    label: "Completion rate"
    description: "All shares made / all shares begun; about 92 % is expected."
    sql: ${total_completed} / NULLIF(${total_initiated}, 0) ;;
    value_format_name: percent_1
  }
}
