-- Somebody other than the owner opened a shared list. The system says so itself too, under the client's message id; programs are left out.
-- One row each; Segment's own table of this name.
SELECT
  event_date, id, event, event_text, user_id, anonymous_id, timestamp, original_timestamp, sent_at, received_at,
  variant, platform, share_token, share_id, referrer, user_agent, is_authenticated,
  context_library_name, context_library_version, context_user_agent, context_locale
FROM `{dataset}.segment_messages_once`
WHERE type = 'track' AND event = 'share_link_clicked'
