DROP TABLE ledger, watermarks;
