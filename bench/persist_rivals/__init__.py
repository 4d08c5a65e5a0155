"""Other ways to do what the persist agent, and a replay, do, each a program: ``python -m bench.persist_rivals.NAME``.

All write with the same SQL, or the same appends (see ``common.py``). They read KAFKA_*, POSTGRES_DSN and BIGQUERY_*,
consume from the topic's start and never end.
"""
