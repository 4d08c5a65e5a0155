-- Tile 1, share creation funnel on each UTC day by platform and channel: share buttons seen, shares begun, shares made.
-- A button has no channel: its views stand in rows of their own, share_channel NULL. initiation_rate is the shares
-- begun of the day and platform, over all channels, / the buttons seen there (expected about 8 %); completion_rate is
-- completed / initiated of the row (expected about 92 %).
WITH steps AS (
  SELECT
    event_date,
    platform,
    share_channel,
    COUNTIF(event = 'share_button_viewed') AS buttons_viewed,
    COUNTIF(event = 'share_initiated') AS initiated,
    COUNTIF(event = 'share_completed') AS completed
  FROM `{dataset}.segment_messages_once`
  WHERE type = 'track' AND event IN ('share_button_viewed', 'share_initiated', 'share_completed')
  GROUP BY event_date, platform, share_channel
)
SELECT
  *,
  SAFE_DIVIDE(
    SUM(initiated) OVER (PARTITION BY event_date, platform),
    SUM(buttons_viewed) OVER (PARTITION BY event_date, platform)
  ) AS initiation_rate,
  SAFE_DIVIDE(completed, initiated) AS completion_rate
FROM steps
