DROP TABLE digests;
DROP TABLE digest_visitors;
DROP TABLE digest_counts;
DROP TABLE digest_owners;
DROP TABLE notification_preferences;
