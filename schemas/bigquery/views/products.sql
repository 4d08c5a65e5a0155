-- The shop's catalogue as it was found last, at most an hour ago; a product that is gone from it keeps its last row.
SELECT product_id, product_name, price, currency, in_stock, is_removed, changed_at
FROM `{dataset}.product_versions`
QUALIFY ROW_NUMBER() OVER (PARTITION BY product_id ORDER BY changed_at DESC) = 1
