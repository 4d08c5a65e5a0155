"""The contracts: Avro schemas, the event and its codec, PostgreSQL migrations."""
