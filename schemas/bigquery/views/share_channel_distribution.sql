-- Metric 5 and tile 4, channel distribution: shares made on each UTC day by channel, and their part of the day's shares.
SELECT
  event_date,
  share_channel,
  COUNT(*) AS shares,
  COUNT(*) / SUM(COUNT(*)) OVER (PARTITION BY event_date) AS part_of_day
FROM `{dataset}.share_events_once`
WHERE event_type = 'share_created'
GROUP BY event_date, share_channel
