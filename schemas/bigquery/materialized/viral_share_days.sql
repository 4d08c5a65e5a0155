-- Human views of each share on each UTC day, and the wishlists that its items made people begin (new_wishlist_id; NULL
-- in the row of the views). Kept up to date by BigQuery as events arrive. What counts is which rows there are: an event
-- that stands in the table twice makes views greater, and no row more.
SELECT
  event_date,
  share_id,
  IF(created_wishlist, recipient_wishlist_id, NULL) AS new_wishlist_id,
  COUNTIF(event_type = 'share_viewed') AS views
FROM `{dataset}.share_events`
WHERE event_date >= DATE '1970-01-01' AND NOT is_bot AND event_type IN ('share_viewed', 'share_item_added')
GROUP BY event_date, share_id, new_wishlist_id
