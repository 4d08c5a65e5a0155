# Looker takes the folder of this file for the project's root.
project_name: "wishlist_social"

constant: dataset {
  value: "wishlist_social"
  export: override_optional
}

# Looker's name for its connection to BigQuery, whose default project holds the dataset.
constant: connection {
  value: "wishlist_social"
  export: override_optional
}
