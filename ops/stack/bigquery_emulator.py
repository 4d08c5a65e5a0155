"""bqemulator, run by its own interpreter: a connection to DuckDB for each thread, threads enough, memory within bounds,
and no copies of what was.

As it comes, appends (in a thread of gRPC's) and queries (in the main thread) share one connection. That is not safe:
one waits for DuckDB holding Python's lock, the other for Python's lock holding DuckDB's, and both for ever. And an
append whose client has gone away keeps its thread; asyncio's own few would soon all be taken, and every append wait for
ever. DuckDB by itself takes four fifths of the machine's memory, which others need here. And each append copies the
whole table, so that ``FOR SYSTEM_TIME AS OF`` finds it as it was, which nothing here asks: a table that grows by a few
rows a second took 9 GB of disk after 300,000 rows, and every append longer than the one before it.
"""

from __future__ import annotations

import asyncio
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from bqemulator.cli import main
from bqemulator.server import EmulatorServer
from bqemulator.storage.engine import DuckDBEngine
from bqemulator.versioning.snapshots import SnapshotManager

_shared = DuckDBEngine.connection.fget
_local = threading.local()


def _own_connection(engine: DuckDBEngine) -> Any:
    connection = _shared(engine)
    if threading.current_thread() is threading.main_thread():
        return connection
    if not hasattr(_local, "connection"):
        _local.connection = connection.cursor()
    return _local.connection


DuckDBEngine.connection = property(_own_connection)

_start = EmulatorServer.start


async def _start_with_threads(server: EmulatorServer) -> None:
    asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor(512))
    await _start(server)
    _shared(server._engine).execute("SET memory_limit = '3GB'")


EmulatorServer.start = _start_with_threads

_capture = SnapshotManager.capture


def _capture_what_is_asked_for(manager: SnapshotManager, *table: str, kind: str = "AUTO") -> Any:
    return None if kind == "AUTO" else _capture(manager, *table, kind=kind)


SnapshotManager.capture = _capture_what_is_asked_for

if __name__ == "__main__":
    sys.exit(main())
