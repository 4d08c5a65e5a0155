-- Tile 6, geographic distribution: views by people on each UTC day from each country, for 100,000 users with an account
-- in it. NULL where the shop has no user there. The figure of a span of days is the sum of its days.
SELECT
  event_date,
  country,
  views,
  users,
  SAFE_DIVIDE(views * 100000, users) AS views_per_100k_users
FROM `{dataset}.geographic_distribution_daily`
LEFT JOIN `{dataset}.users_by_country` USING (country)
