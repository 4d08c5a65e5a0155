"""The daily sweep: unviewed for 30 days, or expired for 7; the next view brings the picture back."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from clients.objects import ObjectStore, preview_key
from clients.postgres import Database
from config.settings import ObjectStoreSettings, PostgresSettings, SweepSettings
from ops.seed import key_of
from schemas.event import EventType
from schemas.ids import new_share_token, share_id_for, uuid7
from sinks.previews import GROUP
from streams.outbox.worker import OutboxWorker
from streams.previews.purging import PurgeOutbox
from streams.previews.sweep import PreviewSweep
from tests.lab import Lab, event, eventually, open_lab

SETTINGS = SweepSettings()


@pytest.fixture
async def lab(tmp_path: Path) -> AsyncIterator[Lab]:
    async with open_lab(tmp_path) as lab:
        yield lab


async def share(lab: Lab, *, age: str, views: int = 0, expired: str | None = None, state: str = "done") -> str:
    """A share that is *age* old, *expired* for so long (None: never expires), with its row; its token."""
    token = new_share_token()
    await lab.pool.execute(
        """INSERT INTO wishlist_shares (id, wishlist_id, share_token, created_by, view_count, created_at, expires_at)
           VALUES ($1, $2, $3, $4, $5, now() - $6::text::interval, now() - $7::text::interval)""",
        share_id_for(token),
        key_of("wl_8a2b3c4d5e6f"),
        token,
        key_of("user_maya"),
        views,
        age,
        expired,
    )
    await lab.pool.execute(
        """INSERT INTO previews (share_id, share_token, wishlist_id, state, due_at, rendered_at)
           VALUES ($1, $2, $3, $4, now(), now())""",
        share_id_for(token),
        token,
        key_of("wl_8a2b3c4d5e6f"),
        state,
    )
    return token


async def state_of(lab: Lab, token: str) -> str:
    state: str = await lab.pool.fetchval("SELECT state FROM previews WHERE share_token = $1", token)
    return state


async def swept(lab: Lab) -> dict[str, int]:
    return await PreviewSweep(Database(PostgresSettings(dsn=lab.dsn)), SETTINGS).sweep()


@pytest.mark.parametrize(
    ("facts", "state"),
    [
        ({"age": "30 days 1 minute"}, "swept"),
        ({"age": "29 days 23 hours"}, "done"),
        ({"age": "400 days", "views": 1}, "done"),
        ({"age": "14 days 1 minute", "views": 5, "expired": "7 days 1 minute"}, "swept"),
        ({"age": "14 days", "views": 5, "expired": "6 days 23 hours"}, "done"),
        ({"age": "14 days", "views": 5, "expired": "-1 days"}, "done"),
        ({"age": "40 days", "state": "withdrawn"}, "withdrawn"),
        ({"age": "40 days", "state": "due"}, "due"),
    ],
    ids=str,
)
async def test_what_goes_and_what_stays(lab: Lab, facts: dict[str, str], state: str) -> None:
    token = await share(lab, **facts)  # type: ignore[arg-type]
    await swept(lab)
    assert await state_of(lab, token) == state


async def test_two_sweeps_at_once_and_a_third_count_each_picture_once(lab: Lab) -> None:
    for number in range(20):
        await share(lab, age="31 days", views=number % 2, expired="8 days")
    both = await asyncio.gather(swept(lab), swept(lab))
    assert sum(one["unviewed"] for one in both) == 10
    assert sum(one["expired"] for one in both) == 10
    assert await swept(lab) == {"unviewed": 0, "expired": 0}


async def test_a_swept_picture_leaves_the_bucket_and_the_next_view_asks_for_it_again(lab: Lab) -> None:
    store = ObjectStore(ObjectStoreSettings())
    token = await share(lab, age="31 days")
    kept = await share(lab, age="31 days", views=1)
    for one in (token, kept):
        await store.put(preview_key(one), b"a picture", "image/png")
    await swept(lab)
    purge = asyncio.create_task(OutboxWorker(PurgeOutbox(store), Database(PostgresSettings(dsn=lab.dsn))).run())

    async def gone() -> bool:
        return not await store.exists(preview_key(token))

    async def free() -> bool:
        return bool(await lab.pool.fetchval("SELECT lease_owner IS NULL FROM previews WHERE share_token = $1", token))

    try:
        await eventually(gone, 10, "the picture is removed")
        await eventually(free, 10, "the relay may take the row again")
        assert await store.exists(preview_key(kept))
    finally:
        purge.cancel()
        await asyncio.gather(purge, return_exceptions=True)
        await store.delete(preview_key(kept))
    lab.produce_events([event(EventType.VIEWED, token, visitor_hash="v", page_view_id=uuid7())])
    lab.start("preview", RENDERER_URL="http://127.0.0.1:9")
    await lab.applied(GROUP + lab.env["STREAM_GROUP_SUFFIX"])
    assert await state_of(lab, token) == "due"
