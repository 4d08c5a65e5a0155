"""The pool of PostgreSQL connections, and the one classification of the driver's errors."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from enum import StrEnum

import asyncpg

from clients.faults import Unavailable
from config.settings import PostgresSettings

DRIVER_ERRORS = (OSError, asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError)
"""The base classes of all that the driver raises. TimeoutError is an OSError."""

# asyncpg has one class, InterfaceError, for a connection that is lost and for a wrong call; these are wrong calls.
_WRONG_CALLS = (asyncpg.ClientConfigurationError, asyncpg.UnsupportedClientFeatureError)
_WRONG_ARGUMENTS = ("the server expects", "number of arguments")

# Classes of SQLSTATE (PostgreSQL manual, appendix A), and single codes that differ from their class.
_PASSING_CLASSES = frozenset(
    {
        "08",  # connection exception
        "28",  # invalid authorization: only met while connecting
        "3D",  # invalid catalog name: only met while connecting
        "40",  # transaction rollback: deadlock, serialization failure
        "53",  # insufficient resources: connections, memory, disk
        "57",  # operator intervention: shutdown, cancelled statement
        "58",  # system error: the disk did not answer
    }
)
_PASSING_CODES = frozenset(
    {
        "25006",  # read-only transaction: a standby, until the new primary takes over
        "25P03",  # idle in transaction for too long: the worker stood still
        "55P03",  # lock not available
    }
)
_DATA_CLASSES = frozenset(
    {
        "22",  # data exception
        "23",  # integrity constraint violation
        "44",  # WITH CHECK OPTION violation
        "54",  # program limit exceeded: an index row too large
        "P0",  # raised by a trigger
    }
)


class Fault(StrEnum):
    """What an error of the driver says, and so what its caller must do."""

    PASSING = "passing"
    """The database or the way to it is the trouble: the same statement may work later."""
    DATA = "data"
    """The values are the trouble: they will be refused each time."""
    BUG = "bug"
    """The statement, or the code around it, is wrong."""


def fault_of(error: BaseException) -> Fault:
    """The kind of *error*; what does not come from the driver is a bug."""
    if isinstance(error, asyncpg.PostgresError):
        code = error.sqlstate or ""
        if code in _PASSING_CODES or code[:2] in _PASSING_CLASSES:
            return Fault.PASSING
        return Fault.DATA if code[:2] in _DATA_CLASSES else Fault.BUG
    if isinstance(error, asyncpg.InterfaceError):
        wrong = isinstance(error, _WRONG_CALLS) or str(error).startswith(_WRONG_ARGUMENTS)
        return Fault.BUG if wrong else Fault.PASSING
    # InternalClientError is no defect of ours: a pool may hand out a connection in the very moment in which the server
    # ends it.
    return Fault.PASSING if isinstance(error, OSError | asyncpg.InternalClientError) else Fault.BUG


@contextmanager
def outages_named() -> Iterator[None]:
    """Passing faults of the driver leave as :class:`clients.faults.Unavailable`; other errors leave unchanged."""
    try:
        yield
    except DRIVER_ERRORS as error:
        if isinstance(error, Unavailable) or fault_of(error) is not Fault.PASSING:
            raise
        raise Unavailable("PostgreSQL", f"{type(error).__name__}: {error}") from error


class PlainConnection(asyncpg.Connection):
    """Leaves nothing behind when it goes back to the pool, and so needs no round trip to be cleaned.

    asyncpg still rolls back a transaction that was left open. Code that takes a session's lock releases it, or
    terminates the connection.
    """

    def get_reset_query(self) -> str:
        """Nothing."""
        return ""


async def open_pool(settings: PostgresSettings, schemas: str = "public") -> asyncpg.Pool:
    """A pool that connects lazily, so that a database that is away does not keep a process from starting.

    *schemas*: where tables are looked for, in this order.
    """
    return await asyncpg.create_pool(
        settings.dsn,
        connection_class=PlainConnection,
        min_size=0,
        max_size=settings.pool_size,
        command_timeout=settings.command_timeout_seconds,
        timeout=5,
        server_settings={
            "timezone": "UTC",
            "search_path": schemas,
            "application_name": "wishlist-social",
            # A worker that freezes in a transaction must not hold its watermarks' locks against the next owner.
            "idle_in_transaction_session_timeout": "5s",
        },
    )


class Database:
    """A pool that is made on first use: for code that is put together before an event loop runs."""

    def __init__(self, settings: PostgresSettings, schemas: str = "public") -> None:
        """See :func:`open_pool`."""
        self._settings = settings
        self._schemas = schemas
        self._lock = asyncio.Lock()
        self._pool: asyncpg.Pool | None = None

    async def pool(self) -> asyncpg.Pool:
        """The one pool of this process."""
        async with self._lock:
            if self._pool is None:
                self._pool = await open_pool(self._settings, self._schemas)
        return self._pool
