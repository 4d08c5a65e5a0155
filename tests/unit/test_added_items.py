"""An added item is listed before it is a row, unless its event was never sent; the next try sends the same event."""

from __future__ import annotations

from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any, cast

import orjson
import pytest

from api import items
from api.services import Services
from clients.faults import Unavailable
from tests.lab import event

USER, ITEM = "user_robin", "item_1"


class Kept(dict[str, bytes]):
    """Redis' part: what is kept first stays until it is corrected."""

    async def remember_added(self, _: str, item: str, copy: bytes) -> bytes:
        return self.setdefault(item, copy)

    async def correct_added(self, _: str, item: str, copy: bytes) -> None:
        self[item] = copy

    async def recently_added(self, _: str) -> dict[str, bytes]:
        return dict(self)


class Publisher:
    def __init__(self) -> None:
        self.is_away = False

    async def publish(self, *_: object, **__: object) -> None:
        if self.is_away:
            raise Unavailable("PostgreSQL", "away")


class NoRows:
    async def rows(self, *_: object) -> list[Any]:
        return []


def services() -> Services:
    return cast(Services, SimpleNamespace(cache=Kept(), publisher=Publisher(), db=NoRows()))


async def add(api: Services) -> items._Copy:
    plan = items._Copy(
        wishlist_item_id=ITEM, product_id="prod_1a2b3c", added_at=datetime.now(UTC), wishlist_id="wl_1"
    )  # fmt: skip
    copy = await items._kept(api, USER, plan)
    await items._publish(api, USER, copy, event(), behind_others=False)
    return copy


async def listed(api: Services) -> list[str]:
    answer = await items.list_my_items(USER, api)
    return [one["wishlist_item_id"] for one in orjson.loads(answer.body)["items"]]


async def test_what_was_sent_is_listed() -> None:
    api = services()
    await add(api)
    assert await listed(api) == [ITEM]


async def test_what_could_not_be_sent_is_not_listed_until_it_is() -> None:
    api = services()
    cast(Publisher, api.publisher).is_away = True
    with pytest.raises(Unavailable):
        await add(api)
    assert await listed(api) == []
    cast(Publisher, api.publisher).is_away = False
    sent = await add(api)
    assert await listed(api) == [ITEM]
    assert (await add(api)).event_id == sent.event_id
