-- Everybody who was ever identified, one row each with what was said of them last; id is the user id. A trait that the
-- last call left out keeps its last value.
SELECT
  user_id AS id,
  received_at,
  LAST_VALUE(account_type IGNORE NULLS) OVER said AS account_type,
  LAST_VALUE(country IGNORE NULLS) OVER said AS country,
  LAST_VALUE(created_at IGNORE NULLS) OVER said AS created_at
FROM `{dataset}.identifies`
WHERE user_id IS NOT NULL
QUALIFY ROW_NUMBER() OVER (PARTITION BY user_id ORDER BY timestamp DESC, id) = 1
WINDOW said AS (
  PARTITION BY user_id ORDER BY timestamp, id DESC ROWS BETWEEN UNBOUNDED PRECEDING AND UNBOUNDED FOLLOWING
)
