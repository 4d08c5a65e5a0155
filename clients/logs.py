"""Structured logs: one JSON object a line on standard error, without secrets or personal data."""

from __future__ import annotations

import logging
import re
import sys
from collections.abc import MutableMapping
from typing import Any

import structlog

# Where librdkafka's own words go: pass it to every Producer, Consumer and AdminClient as ``logger``.
librdkafka = logging.getLogger("librdkafka")

# Keys whose values must never be written, whatever a caller passes.
FORBIDDEN = frozenset({"token", "share_token", "authorization", "jwt", "ip", "address", "email", "message", "password"})
_JWT = re.compile(r"eyJ[\w-]+\.[\w-]+\.[\w-]*")
_SHARE_PATH = re.compile(r"(/(?:shared|shares|social)/)[0-9A-Za-z]{16,22}")


def _scrub(_: Any, __: str, entry: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    for key, value in entry.items():
        if key in FORBIDDEN:
            entry[key] = "[removed]"
        elif isinstance(value, str):
            entry[key] = _SHARE_PATH.sub(r"\1[removed]", _JWT.sub("[removed]", value))
    return entry


def configure(process: str, level: str = "INFO") -> None:
    """Send this process's logs, ours and the libraries', to standard error as JSON lines."""
    shared: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.format_exc_info,
        _scrub,
    ]
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                structlog.processors.JSONRenderer(),
            ],
        )
    )
    logging.basicConfig(level=level, handlers=[handler], force=True)
    # At INFO it speaks of nothing but its own queues.
    librdkafka.setLevel(logging.WARNING)
    # What carries HTTP/2 writes down every header at DEBUG: credentials, and paths with device tokens.
    http2 = ("httpx", "httpcore", "h2", "hpack")
    for noisy in ("aiokafka", "botocore", "urllib3", "faust", "mode", "uvicorn.access", *http2):
        logging.getLogger(noisy).setLevel(logging.WARNING)
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        wrapper_class=structlog.stdlib.BoundLogger,
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=True,
    )
    structlog.contextvars.bind_contextvars(process=process)


def get_logger() -> structlog.stdlib.BoundLogger:
    """The process's logger."""
    logger: structlog.stdlib.BoundLogger = structlog.get_logger()
    return logger
