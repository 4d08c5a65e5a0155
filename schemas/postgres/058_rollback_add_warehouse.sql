DROP TABLE warehouse_appends;
DROP TABLE warehouse_owners;
