-- Metric and tile 3, viral coefficient of each UTC day: wishlists that were made to hold an item of a shared list
-- (new_wishlists) / shares that a person viewed (shares_with_views). A share viewed on two days counts on both; the
-- view viral_coefficient has the figure over all days.
WITH days AS (
  SELECT
    event_date,
    COUNT(DISTINCT new_wishlist_id) AS new_wishlists,
    COUNT(DISTINCT IF(views > 0, share_id, NULL)) AS shares_with_views
  FROM `{dataset}.viral_share_days`
  GROUP BY event_date
)
SELECT *, SAFE_DIVIDE(new_wishlists, shares_with_views) AS viral_coefficient
FROM days
