"""Other ways to do what the persist agent does, each a program of its own: ``python -m bench.persist_rivals.NAME``.

All write with the same SQL. They read KAFKA_* and POSTGRES_DSN, consume from the topic's start and never end.
"""
