"""What the stores of a fresh stack must hold before our processes start."""

from __future__ import annotations

import asyncio

import asyncpg

from clients.objects import ObjectStore
from config.settings import KafkaSettings, ObjectStoreSettings, PostgresSettings, QueueSettings
from ops import bucket, migrations, queue, seed, topics


async def prepare() -> None:
    """Database, schema, development data, topics, bucket and queue; each is left alone where it is there."""
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
    async for _ in bucket.prepare(ObjectStore(ObjectStoreSettings())):
        pass
    async for _ in queue.prepare(QueueSettings()):
        pass
