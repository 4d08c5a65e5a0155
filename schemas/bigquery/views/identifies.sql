-- Every identify call, one row each: what was said of a person, and when. Names and addresses are not kept.
SELECT
  event_date, id, user_id, anonymous_id, timestamp, original_timestamp, sent_at, received_at, account_type, country,
  created_at, platform, context_library_name, context_library_version, context_user_agent, context_locale
FROM `{dataset}.segment_messages_once`
WHERE type = 'identify'
