"""What happens to a share while events of it wait in the outbox queues behind them, whoever tells of it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import asyncpg
import httpx
import pytest
import pytest_asyncio

from clients import outbox
from schemas.event import EventType
from schemas.ids import share_id_for
from tests.lab import CODEC, Lab, event, eventually, open_lab
from tests.lab_api import VISITOR, open_api, signed_in

LIST = "/api/v2/wishlists/wl_8a2b3c4d5e6f"
pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def lab(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Lab]:
    async with open_lab(tmp_path_factory.mktemp("behind")) as lab:
        yield lab


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def api(lab: Lab) -> AsyncIterator[httpx.AsyncClient]:
    async with open_api(lab) as client:
        yield client


@asynccontextmanager
async def nothing_relayed(lab: Lab) -> AsyncIterator[None]:
    """What is in the outbox stays there: this holds the lock of whoever relays."""
    connection = await asyncpg.connect(lab.dsn)
    try:
        await connection.execute("SELECT pg_advisory_lock($1)", outbox.RELAY_LOCK)
        yield
    finally:
        await connection.close()


async def waiting(lab: Lab, token: str) -> list[str]:
    """Types of the share's events in the outbox, in the order in which they are sent."""
    rows = await lab.pool.fetch("SELECT event_type FROM event_outbox WHERE share_token = $1 ORDER BY id", token)
    return [row["event_type"] for row in rows]


@pytest.mark.parametrize("is_row", [False, True], ids=["a share that PostgreSQL does not know yet", "a share's row"])
async def test_nothing_overtakes_what_waits(lab: Lab, api: httpx.AsyncClient, is_row: bool) -> None:
    made = await api.post(f"{LIST}/share", json={"channel": "copy_link"})
    assert made.status_code == 201, made.text
    token = made.json()["share_token"]
    if is_row:
        worker = lab.start()
        await eventually(
            lambda: lab.pool.fetchval("SELECT EXISTS (SELECT FROM wishlist_shares WHERE share_token = $1)", token),
            60,
            "the share is a row",
        )
        worker.terminate()
        worker.wait(30)
    async with nothing_relayed(lab):
        # Kafka did not take this one in time, and takes everything by now.
        first = event(EventType.SETTINGS_CHANGED, token, share_id=share_id_for(token))
        await outbox.append(lab.pool, CODEC, first)
        in_topic = lab.end_offsets()
        expected = [EventType.SETTINGS_CHANGED]

        switched = await api.put(f"{LIST}/shares/{token}/items/item_abc123", json={"visible": False})
        assert switched.is_success, switched.text
        expected.append(EventType.SETTINGS_CHANGED)
        assert await waiting(lab, token) == expected

        changed = await api.patch(f"{LIST}/shares/{token}", json={"expires_in_days": 7})
        assert changed.is_success, changed.text
        expected.append(EventType.SETTINGS_CHANGED)
        assert await waiting(lab, token) == expected

        added = await api.post(
            "/api/v2/wishlists/my/items",
            json={"product_id": "prod_1a2b3c", "source": "shared_wishlist", "source_token": token},
            headers=signed_in("user_recipient"),
        )
        assert added.status_code == 201, added.text
        expected.append(EventType.ITEM_ADDED)
        assert await waiting(lab, token) == expected

        if not is_row:
            # A view of a row may go ahead: nothing that waits makes the share.
            async with httpx.AsyncClient(base_url=api.base_url, headers=VISITOR) as visitor:
                assert (await visitor.get(f"/api/v2/wishlists/shared/{token}")).status_code == 200
            expected.append(EventType.VIEWED)

            async def viewed() -> bool:
                return await waiting(lab, token) == expected

            await eventually(viewed, 10, "the view waits too")

        ended = await api.delete(f"{LIST}/shares/{token}")
        assert ended.status_code == 204, ended.text
        expected.append(EventType.REVOKED)
        assert await waiting(lab, token) == expected
        assert lab.end_offsets() == in_topic, "nothing went ahead"

    async def sent() -> bool:
        return not await waiting(lab, token)

    await eventually(sent, 30, "all is sent, in that order")
    assert sum(lab.end_offsets().values()) == sum(in_topic.values()) + len(expected)
