# Metric 3 in the words of the spec's analytics section, over all time. There is one row, so that a sum is the row
# itself.
view: productive_shares_per_user {
  sql_table_name: `@{dataset}.productive_shares_per_user` ;;

  dimension: productive_shares {
    type: number
    description: "Shares that made somebody begin a wishlist."
    hidden: yes
    sql: ${TABLE}.productive_shares ;;
  }

  dimension: sharing_users {
    type: number
    description: "People who ever shared."
    hidden: yes
    sql: ${TABLE}.sharing_users ;;
  }

  dimension: productive_shares_per_user {
    type: number
    description: "productive_shares / sharing_users."
    hidden: yes
    sql: ${TABLE}.productive_shares_per_user ;;
  }

  measure: total_productive_shares {
    type: sum
    label: "Productive shares"
    description: "Shares that made somebody begin a wishlist."
    sql: ${productive_shares} ;;
    value_format_name: decimal_0
  }

  measure: total_sharing_users {
    type: sum
    label: "Sharing users"
    description: "People who ever shared."
    sql: ${sharing_users} ;;
    value_format_name: decimal_0
  }

  measure: overall_productive_shares_per_user {
    type: number
    label: "Productive shares per user"
    description: "Productive shares / people who ever shared."
    sql: ${total_productive_shares} / NULLIF(${total_sharing_users}, 0) ;;
    value_format_name: decimal_3
  }
}
