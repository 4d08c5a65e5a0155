-- Share events, one row each. The agent writes an event once; should one stand in the table twice all the same (a topic
-- read again into the same table by hand), this keeps the first. Filter on event_date: only its partitions are read.
SELECT *
FROM `{dataset}.share_events`
WHERE event_date >= DATE '1970-01-01'
QUALIFY ROW_NUMBER() OVER (PARTITION BY event_date, event_id ORDER BY occurred_at) = 1
