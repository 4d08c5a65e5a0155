"""How we reach the outside: Kafka, PostgreSQL, Redis, the object store, metrics and logs. Factories, no rules."""
