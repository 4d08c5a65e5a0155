-- Messages of the Segment interface, one row for each message id and UTC day. A message that the client and the system
-- both send under one id is one message; the first to arrive is kept. Filter on event_date: only its partitions are read.
SELECT *
FROM `{dataset}.segment_messages`
WHERE event_date >= DATE '1970-01-01'
QUALIFY ROW_NUMBER() OVER (PARTITION BY event_date, id ORDER BY received_at, context_library_name) = 1
