# Metric 4, items added from each share over all time. Whoever added from two shares is among the recipients of both,
# so recipients are not summed.
view: items_added_by_share {
  sql_table_name: `@{dataset}.items_added_by_share` ;;

  dimension: share_id {
    primary_key: yes
    type: string
    description: "The share."
    sql: ${TABLE}.share_id ;;
  }

  dimension: items_added {
    type: number
    description: "Items added from the share."
    hidden: yes
    sql: ${TABLE}.items_added ;;
  }

  dimension: recipients {
    type: number
    description: "People who added from the share. Of one share: the same people may have added from another."
    sql: ${TABLE}.recipients ;;
  }

  measure: shares {
    type: count
    label: "Shares"
    description: "Shares, those included that nobody added from."
  }

  measure: shares_with_adds {
    type: count
    label: "Shares with adds"
    description: "Shares that an item was added from."
    filters: [items_added: ">0"]
  }

  measure: total_items_added {
    type: sum
    label: "Items added"
    description: "Items added from shares."
    sql: ${items_added} ;;
    value_format_name: decimal_0
  }

  measure: overall_items_added_per_share {
    type: number
    label: "Items added per share"
    description: "Items added / all shares, those included that nobody added from."
    sql: ${total_items_added} / NULLIF(${shares}, 0) ;;
    value_format_name: decimal_2
  }

  measure: overall_items_added_per_share_with_adds {
    type: number
    label: "Items added per share with adds"
    description: "Items added / shares that one was added from."
    sql: ${total_items_added} / NULLIF(${shares_with_adds}, 0) ;;
    value_format_name: decimal_2
  }
}
