"""Which text PostgreSQL, Kafka and BigQuery can store."""

from __future__ import annotations


def is_storable(text: str) -> bool:
    """Whether *text* has no NUL and is valid UTF-8: JSON escapes can hold a lone surrogate, which no store takes."""
    if "\0" in text:
        return False
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
