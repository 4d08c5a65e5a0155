# The shop's catalogue, for the names in shared_products_daily.
view: products {
  sql_table_name: `@{dataset}.products` ;;

  dimension: product_id {
    primary_key: yes
    type: string
    description: "The product."
    sql: ${TABLE}.product_id ;;
  }

  dimension: product_name {
    type: string
    description: "Name in the catalogue."
    sql: ${TABLE}.product_name ;;
  }

  dimension: price {
    type: number
    description: "Price, in the product's currency: not to be summed."
    sql: ${TABLE}.price ;;
  }

  dimension: currency {
    type: string
    description: "Currency of the price."
    sql: ${TABLE}.currency ;;
  }

  dimension: in_stock {
    type: yesno
    description: "Whether the shop has it."
    sql: ${TABLE}.in_stock ;;
  }

  dimension: is_removed {
    type: yesno
    description: "Whether it is gone from the catalogue."
    sql: ${TABLE}.is_removed ;;
  }

  dimension_group: changed {
    type: time
    description: "When the catalogue was found to say this, in UTC."
    timeframes: [raw, time, date, week, month, quarter, year]
    datatype: timestamp
    convert_tz: no
    sql: ${TABLE}.changed_at ;;
  }
}
