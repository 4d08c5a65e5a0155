-- Metric 7, share link lifespan: for each share the time from its creation to the last view by a person, in hours; NULL
-- where nobody has viewed it. raw_lifespan_hours counts programs too. All time: a share lives across days.
SELECT
  share_id,
  ANY_VALUE(share_channel) AS share_channel,
  MIN(IF(event_type = 'share_created', occurred_at, NULL)) AS created_at,
  MAX(IF(event_type = 'share_viewed' AND NOT is_bot, occurred_at, NULL)) AS last_viewed_at,
  TIMESTAMP_DIFF(
    MAX(IF(event_type = 'share_viewed' AND NOT is_bot, occurred_at, NULL)),
    MIN(IF(event_type = 'share_created', occurred_at, NULL)),
    MICROSECOND
  ) / 3600000000 AS lifespan_hours,
  TIMESTAMP_DIFF(
    MAX(IF(event_type = 'share_viewed', occurred_at, NULL)),
    MIN(IF(event_type = 'share_created', occurred_at, NULL)),
    MICROSECOND
  ) / 3600000000 AS raw_lifespan_hours,
  COUNTIF(event_type = 'share_viewed' AND NOT is_bot) AS views,
  COUNTIF(event_type = 'share_viewed') AS raw_views
FROM `{dataset}.share_events_once`
GROUP BY share_id
