-- Metric 2, share conversion rate: views of each UTC day and the share of them that led to "add to my list". A view is
-- a person's (views) or anybody's, programs included (raw_views); the owner's own looks are none. unique_viewers counts
-- a person once for each share and day. converting_views counts a person who added at least one item once for each
-- share and day, on the day of the adding. conversion_rate is converting_views / views.
WITH days AS (
  SELECT
    event_date,
    COUNTIF(event_type = 'share_viewed' AND NOT is_bot) AS views,
    COUNTIF(event_type = 'share_viewed') AS raw_views,
    COUNT(DISTINCT IF(event_type = 'share_viewed' AND NOT is_bot, CONCAT(share_id, visitor_hash), NULL))
      AS unique_viewers,
    COUNT(DISTINCT IF(event_type = 'share_item_added', CONCAT(share_id, recipient_user_id), NULL)) AS converting_views
  FROM `{dataset}.share_events_once`
  WHERE event_type IN ('share_viewed', 'share_item_added')
  GROUP BY event_date
)
SELECT *, SAFE_DIVIDE(converting_views, views) AS conversion_rate
FROM days
