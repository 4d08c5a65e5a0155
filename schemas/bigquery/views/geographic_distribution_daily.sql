-- Metric 6, geographic distribution: views of each UTC day by the country that the request came from, by people (views)
-- and by anybody, programs included (raw_views). An empty country is one that the edge did not tell.
SELECT
  event_date,
  COALESCE(country, '') AS country,
  COUNTIF(NOT is_bot) AS views,
  COUNT(*) AS raw_views
FROM `{dataset}.share_events_once`
WHERE event_type = 'share_viewed'
GROUP BY event_date, COALESCE(country, '')
