# Tile 5 over all time: the 20 products that were shared most. For a span of days see shared_products_daily.
view: top_shared_products {
  sql_table_name: `@{dataset}.top_shared_products` ;;

  dimension: product_id {
    primary_key: yes
    type: string
    description: "The product."
    sql: ${TABLE}.product_id ;;
  }

  dimension: product_name {
    type: string
    description: "Name in the catalogue; the product's id where the catalogue has none."
    sql: ${TABLE}.product_name ;;
  }

  dimension: times_shared {
    type: number
    description: "Shares made in which the product was visible."
    hidden: yes
    sql: ${TABLE}.times_shared ;;
  }

  dimension: times_added_from_share {
    type: number
    description: "How often the product was added from any share."
    hidden: yes
    sql: ${TABLE}.times_added_from_share ;;
  }

  dimension: conversion_rate {
    type: number
    description: "times_added_from_share / times_shared. Of one row: not to be averaged."
    hidden: yes
    sql: ${TABLE}.conversion_rate ;;
  }

  measure: total_times_shared {
    type: sum
    label: "Times shared"
    description: "Shares made in which the product was visible."
    sql: ${times_shared} ;;
    value_format_name: decimal_0
  }

  measure: total_times_added_from_share {
    type: sum
    label: "Times added from share"
    description: "How often the product was added from any share."
    sql: ${times_added_from_share} ;;
    value_format_name: decimal_0
  }

  measure: overall_conversion_rate {
    type: number
    label: "Conversion rate"
    description: "Times added / times shared; above 1 where many people added from one share."
    sql: ${total_times_added_from_share} / NULLIF(${total_times_shared}, 0) ;;
    value_format_name: percent_1
  }
}
