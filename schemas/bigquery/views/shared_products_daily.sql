-- Products in shares on each UTC day: in how many shares that were made one was visible (times_shared), and how often it
-- was added from any share (times_added_from_share).
WITH mentions AS (
  SELECT event_date, shown AS product_id, 1 AS shared, 0 AS added
  FROM `{dataset}.share_events_once`, UNNEST(product_ids) AS shown
  WHERE event_type = 'share_created'
  UNION ALL
  SELECT event_date, product_id, 0 AS shared, 1 AS added
  FROM `{dataset}.share_events_once`
  WHERE event_type = 'share_item_added' AND product_id IS NOT NULL
)
SELECT event_date, product_id, SUM(shared) AS times_shared, SUM(added) AS times_added_from_share
FROM mentions
GROUP BY event_date, product_id
