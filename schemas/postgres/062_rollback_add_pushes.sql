DROP TABLE push_deliveries;
DROP TABLE pushes;
ALTER TABLE users DROP COLUMN quiet_start, DROP COLUMN quiet_end;
