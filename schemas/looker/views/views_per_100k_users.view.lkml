# Tile 6, views for 100,000 users. users is a country's and stands in each of its days: it is added up once for each
# country. Views from where the shop has no user have nothing to be divided by and are left out of the rate.
view: views_per_100k_users {
  sql_table_name: `@{dataset}.views_per_100k_users` ;;

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

  dimension: users {
    type: number
    description: "Users with an account in the country, as counted last."
    hidden: yes
    sql: ${TABLE}.users ;;
  }

  dimension: views_per_100k_users {
    type: number
    description: "views * 100000 / users. Of one row: not to be averaged."
    hidden: yes
    sql: ${TABLE}.views_per_100k_users ;;
  }

  measure: total_views {
    type: sum
    label: "Views"
    description: "Views by people."
    sql: ${views} ;;
    value_format_name: decimal_0
  }

  measure: total_views_with_users {
    type: sum
    description: "Views from countries in which the shop has a user."
    hidden: yes
    filters: [users: ">0"]
    sql: ${views} ;;
  }

  measure: total_users {
    type: sum_distinct
    label: "Users"
    description: "Users in the countries that there are views from, as counted last; each country once."
    sql_distinct_key: ${country} ;;
    sql: ${users} ;;
    value_format_name: decimal_0
  }

  measure: overall_views_per_100k_users {
    type: number
    label: "Views per 100K users"
    description: "All views / users, for 100,000 users. Empty where the shop has no user."
    sql: ${total_views_with_users} * 100000 / NULLIF(${total_users}, 0) ;;
    value_format_name: decimal_1
  }
}
