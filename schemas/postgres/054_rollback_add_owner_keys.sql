DROP TABLE owner_keys;
