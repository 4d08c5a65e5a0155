-- Metric 8, revocation rate: shares made on each UTC day, how many of them their owners have revoked since, on whatever
-- day, and the part that these are. All time is read: a share is revoked later than it is made.
WITH shares AS (
  SELECT
    share_id,
    MIN(IF(event_type = 'share_created', event_date, NULL)) AS event_date,
    LOGICAL_OR(event_type = 'share_revoked') AS is_revoked
  FROM `{dataset}.share_events_once`
  WHERE event_type IN ('share_created', 'share_revoked')
  GROUP BY share_id
)
SELECT
  event_date,
  COUNT(*) AS shares_created,
  COUNTIF(is_revoked) AS shares_revoked,
  COUNTIF(is_revoked) / COUNT(*) AS revocation_rate
FROM shares
WHERE event_date IS NOT NULL
GROUP BY event_date
