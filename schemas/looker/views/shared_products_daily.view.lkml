# Tile 5 for a span of days: products in shares. The explore joins the catalogue, which has the names.
view: shared_products_daily {
  sql_table_name: `@{dataset}.shared_products_daily` ;;

  dimension_group: event {
    type: time
    description: "UTC day on which the product was shared or added."
    timeframes: [raw, date, week, month, quarter, year]
    datatype: date
    convert_tz: no
    sql: ${TABLE}.event_date ;;
  }

  dimension: product_id {
    type: string
    description: "The product."
    sql: ${TABLE}.product_id ;;
  }

  dimension: product_name {
    type: string
    description: "Name in the catalogue; the product's id where the catalogue has none."
    sql: COALESCE(${products.product_name}, ${TABLE}.product_id) ;;
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
