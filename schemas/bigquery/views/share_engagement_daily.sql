-- Tile 2, share engagement over time: on each UTC day, by the share's channel and the platform of who acted, shares
-- made, views by people (shares_viewed) and by anybody, programs included (raw_shares_viewed), and items added.
SELECT
  event_date,
  share_channel,
  platform,
  COUNTIF(event_type = 'share_created') AS shares_created,
  COUNTIF(event_type = 'share_viewed' AND NOT is_bot) AS shares_viewed,
  COUNTIF(event_type = 'share_viewed') AS raw_shares_viewed,
  COUNTIF(event_type = 'share_item_added') AS items_added_from_shares
FROM `{dataset}.share_events_once`
WHERE event_type IN ('share_created', 'share_viewed', 'share_item_added')
GROUP BY event_date, share_channel, platform
