-- A share link was made. The system says so itself too, under the client's message id.
-- One row each; Segment's own table of this name.
SELECT
  event_date, id, event, event_text, user_id, anonymous_id, timestamp, original_timestamp, sent_at, received_at,
  variant, platform, share_channel, share_token, share_id, item_count,
  context_library_name, context_library_version, context_user_agent, context_locale
FROM `{dataset}.segment_messages_once`
WHERE type = 'track' AND event = 'share_completed'
