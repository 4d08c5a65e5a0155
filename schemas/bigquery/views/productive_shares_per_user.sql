-- Metric 3 in the words of the spec's analytics section, over all time, one row: shares that made somebody begin a
-- wishlist (productive_shares) for each person who shared (sharing_users).
WITH totals AS (
  SELECT
    COUNT(DISTINCT IF(created_wishlist, share_id, NULL)) AS productive_shares,
    COUNT(DISTINCT IF(event_type = 'share_created', user_id, NULL)) AS sharing_users
  FROM `{dataset}.share_events_once`
)
SELECT *, SAFE_DIVIDE(productive_shares, sharing_users) AS productive_shares_per_user
FROM totals
