-- Accounts by country as they were counted last, at most an hour ago.
SELECT country, users, changed_at
FROM `{dataset}.user_counts`
QUALIFY ROW_NUMBER() OVER (PARTITION BY country ORDER BY changed_at DESC) = 1
