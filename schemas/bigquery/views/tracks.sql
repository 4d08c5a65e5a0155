-- Every tracked event, one row each, with the columns that all events share; Segment's own table of this name.
SELECT
  event_date, id, event, event_text, user_id, anonymous_id, timestamp, original_timestamp, sent_at, received_at,
  context_library_name, context_library_version, context_user_agent, context_locale
FROM `{dataset}.segment_messages_once`
WHERE type = 'track'
