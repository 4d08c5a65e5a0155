"""The header Retry-After, as receivers and services send it."""

from __future__ import annotations

from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

# Nobody means a longer wait: 31 years.
LONGEST_SECONDS = 999_999_999.0


def retry_after(value: str | None) -> float | None:
    """Seconds from now that Retry-After asks for (RFC 9110, 10.2.3): a number, or a date without a zone being UTC.

    Never negative, and finite; None where the header is missing or says nothing. Never raises.
    """
    said = (value or "").strip()
    if said.isascii() and said.isdecimal():
        return min(LONGEST_SECONDS, float(said))
    try:
        moment = parsedate_to_datetime(said)
        if moment.tzinfo is None:
            moment = moment.replace(tzinfo=UTC)
        wait = (moment - datetime.now(UTC)).total_seconds()
    except (ArithmeticError, ValueError, TypeError, LookupError):  # whatever a date that is none leads to
        return None
    return min(LONGEST_SECONDS, max(0.0, wait))
