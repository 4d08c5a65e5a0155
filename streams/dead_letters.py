"""Agent ``dead_letters``: what lies in the DLQ becomes rows that outlive the topic's 7 days."""

from __future__ import annotations

from sinks.dead_letters import GROUP, DeadLetterStore
from streams.application import dead_letter_agent

app = dead_letter_agent("dead_letters", GROUP, DeadLetterStore)
