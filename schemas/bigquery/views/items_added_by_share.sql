-- Metric 4, items added from each share over all time, and by how many people; shares that nobody added from have 0.
SELECT
  share_id,
  COUNTIF(event_type = 'share_item_added') AS items_added,
  COUNT(DISTINCT IF(event_type = 'share_item_added', recipient_user_id, NULL)) AS recipients
FROM `{dataset}.share_events_once`
GROUP BY share_id
