-- Metric and tile 3, viral coefficient over all time, one row: wishlists that were made to hold an item of a shared
-- list (new_wishlists) / shares that a person ever viewed (shares_with_views). The spec's target is above 0.1.
WITH totals AS (
  SELECT
    COUNT(DISTINCT new_wishlist_id) AS new_wishlists,
    COUNT(DISTINCT IF(views > 0, share_id, NULL)) AS shares_with_views
  FROM `{dataset}.viral_share_days`
)
SELECT *, SAFE_DIVIDE(new_wishlists, shares_with_views) AS viral_coefficient
FROM totals
