-- Metric 1, share creation rate: shares made on each UTC day, the people who made them, and shares for each of those.
SELECT
  event_date,
  COUNT(*) AS shares_created,
  COUNT(DISTINCT user_id) AS sharing_users,
  COUNT(*) / COUNT(DISTINCT user_id) AS shares_per_user
FROM `{dataset}.share_events_once`
WHERE event_type = 'share_created'
GROUP BY event_date
