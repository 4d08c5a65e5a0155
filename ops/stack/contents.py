"""What the stores of a fresh stack must hold before our processes start."""

from __future__ import annotations

import asyncio

import asyncpg
import stamina

from clients.faults import Unavailable
from clients.objects import ObjectStore
from config.settings import KafkaSettings, ObjectStoreSettings, PostgresSettings, QueueSettings
from ops import bucket, migrations, queue, seed, topics

# A machine that starts everything at once keeps a stand-in from answering in the time that a bucket is given.
_PATIENCE_SECONDS = 60.0


class NotPrepared(Exception):
    """Bucket or queue do not answer."""


async def prepare() -> None:
    """Database, schema, development data, topics, bucket and queue; each is left alone where it is there.

    Raises :class:`NotPrepared` where bucket or queue do not answer for a minute.
    """
    dsn = PostgresSettings().dsn
    admin = await asyncpg.connect(dsn.rsplit("/", 1)[0] + "/postgres")
    if not await admin.fetchval("SELECT 1 FROM pg_database WHERE datname = 'wishlist'"):
        await admin.execute("CREATE DATABASE wishlist")
    await admin.close()
    connection = await asyncpg.connect(dsn)
    await migrations.migrate(connection)
    await seed.seed(connection)
    await connection.close()
    await asyncio.to_thread(list, topics.ensure(KafkaSettings()))
    try:
        await _prepare_bucket_and_queue()
    except Unavailable as error:
        raise NotPrepared(str(error)) from error


@stamina.retry(on=Unavailable, attempts=None, timeout=_PATIENCE_SECONDS)
async def _prepare_bucket_and_queue() -> None:
    async for _ in bucket.prepare(ObjectStore(ObjectStoreSettings())):
        pass
    async for _ in queue.prepare(QueueSettings()):
        pass
