-- Tile 5, the 20 products that were shared most over all time, with the catalogue's names. conversion_rate is
-- times_added_from_share / times_shared: it can be above 1, since one share can be added from by many people. For a span
-- of days sum shared_products_daily.
WITH totals AS (
  SELECT
    product_id,
    SUM(times_shared) AS times_shared,
    SUM(times_added_from_share) AS times_added_from_share
  FROM `{dataset}.shared_products_daily`
  GROUP BY product_id
)
SELECT
  product_id,
  COALESCE(product_name, product_id) AS product_name,
  times_shared,
  times_added_from_share,
  SAFE_DIVIDE(times_added_from_share, times_shared) AS conversion_rate
FROM totals
LEFT JOIN `{dataset}.products` USING (product_id)
ORDER BY times_shared DESC, times_added_from_share DESC, product_id
LIMIT 20
