-- Metric 4, items added from shared lists on each UTC day: all (items_added), from how many shares (shares_with_adds),
-- and items for each of those.
SELECT
  event_date,
  COUNT(*) AS items_added,
  COUNT(DISTINCT share_id) AS shares_with_adds,
  COUNT(*) / COUNT(DISTINCT share_id) AS items_added_per_share
FROM `{dataset}.share_events_once`
WHERE event_type = 'share_item_added'
GROUP BY event_date
