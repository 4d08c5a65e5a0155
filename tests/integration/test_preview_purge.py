"""A revoked share's picture does not stay in the bucket."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from clients.objects import ObjectStore
from clients.postgres import Database
from config.settings import ObjectStoreSettings, PostgresSettings
from ops.seed import key_of
from schemas.ids import new_share_token, share_id_for
from streams.outbox.worker import OutboxWorker
from streams.previews.purging import PurgeOutbox
from tests.lab import Lab, eventually, open_lab


@pytest.fixture
async def lab(tmp_path: Path) -> AsyncIterator[Lab]:
    async with open_lab(tmp_path) as lab:
        yield lab


async def test_withdrawn_pictures_go_and_others_stay(lab: Lab) -> None:
    store = ObjectStore(ObjectStoreSettings())
    withdrawn = await picture(lab, store, "withdrawn")
    rendering = await picture(lab, store, "withdrawn", leased=True)
    done = await picture(lab, store, "done")
    running = asyncio.create_task(OutboxWorker(PurgeOutbox(store), Database(PostgresSettings(dsn=lab.dsn))).run())
    try:
        await eventually(lambda: gone(store, withdrawn), 10, "the picture is removed")
        assert await store.exists(path(rendering)), "it may come yet, and would then stay for good"
        await lab.pool.execute("UPDATE previews SET lease_until = NULL")
        await eventually(lambda: gone(store, rendering), 10, "the picture is removed")
        assert await store.exists(path(done))
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        await store.delete(path(done))


async def picture(lab: Lab, store: ObjectStore, state: str, *, leased: bool = False) -> str:
    """A share's row and picture; its token."""
    token = new_share_token()
    await lab.pool.execute(
        """INSERT INTO previews (share_id, share_token, wishlist_id, state, due_at, lease_until)
           VALUES ($1, $2, $3, $4, now(), CASE WHEN $5 THEN now() + interval '1 minute' END)""",
        share_id_for(token),
        token,
        key_of("wl_8a2b3c4d5e6f"),
        state,
        leased,
    )
    await store.put(path(token), b"a picture", "image/png")
    return token


def path(token: str) -> str:
    return f"social/{token}/preview.png"


async def gone(store: ObjectStore, token: str) -> bool:
    return not await store.exists(path(token))
