"""Agent ``persist``: share events become rows in PostgreSQL."""

from __future__ import annotations

from sinks.share_store import GROUP, ShareStore
from streams.application import share_event_agent

app = share_event_agent("persist", GROUP, ShareStore)
