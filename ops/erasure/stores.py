"""Every store that knows people. A new store joins with a module of its own, and a line here."""

from __future__ import annotations

from collections.abc import Sequence

from redis.asyncio import Redis

from clients.bigquery import Warehouse
from clients.objects import ObjectStore
from clients.postgres import Database
from config.settings import (
    ApiSettings,
    ArchiveSettings,
    ObjectStoreSettings,
    RedisSettings,
    WarehouseSettings,
    load,
)
from ops.erasure.archive import ArchivedEvents
from ops.erasure.contract import Eraser
from ops.erasure.links import Links
from ops.erasure.pictures import Pictures
from ops.erasure.postgres import PostgresRows
from ops.erasure.warehouse import WarehouseRows


def erasers(database: Database) -> Sequence[Eraser]:
    """PostgreSQL first: the rows there say what else is theirs, and are remembered as they go."""
    bucket = ObjectStore(load(ObjectStoreSettings))
    return (
        PostgresRows(database),
        Links(database, Redis.from_url(load(RedisSettings).url, socket_connect_timeout=5), load(ApiSettings)),
        Pictures(database, bucket),
        ArchivedEvents(database, bucket, load(ArchiveSettings).prefix),
        WarehouseRows(database, Warehouse(load(WarehouseSettings))),
    )
