"""What happens during a soak: the simulation's people on few shares, over and over, at a clocked rate."""

from __future__ import annotations

import asyncio
import itertools
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime

import asyncpg
from msgspec import structs

from bench import api_world
from bench.open_loop import Figures, Load, run
from clients.producer import EventProducer
from config.settings import KafkaSettings
from ops.simulation import plan, world
from ops.simulation.events import events_of
from schemas.codec import Codec, load_schemas
from schemas.event import EventType, ShareEvent
from schemas.ids import first_wishlist_id_for, item_id_for, uuid7

# So many acts of the simulation come to about 400 shares: few enough for the renderer to draw in the warm-up, so that
# what is measured afterwards is not its backlog.
ACTS = 2_000
# Requests a second to the API. Each share made there is a card to draw.
API_RATES = {"create": 0.5, "look_up": 10.0, "add": 2.0}
_TICK_SECONDS = 0.05
_AGAIN = {EventType.VIEWED, EventType.ITEM_ADDED, EventType.SETTINGS_CHANGED}


class Traffic:
    """``events`` without end: first how the shares came about, then what people do with them."""

    def __init__(self, seed: int) -> None:
        now = datetime.now(UTC)
        self.people = world.make(seed, ACTS)
        self._events = list(events_of(plan.make(seed, ACTS, now, 1, self.people)))
        self._products = [product.id for product in self.people.products]
        self.tokens = sorted({event.share_token for event in self._events})
        self.sent: Counter[EventType] = Counter()
        self.views_of_people = 0
        self.copies: set[object] = set()
        self.events = self._told()

    def _told(self) -> Iterator[ShareEvent]:
        for number in itertools.count():
            for event in self._events:
                told = self._anew(event, number) if number else self._now(event)
                if told is not None:
                    self._count(told)
                    yield told

    @staticmethod
    def _now(event: ShareEvent) -> ShareEvent:
        """The same, told now; nothing ends, so that all goes on."""
        if event.event_type in {EventType.REVOKED, EventType.EXPIRED}:
            event = structs.replace(event, event_type=EventType.VIEWED, visitor_hash=event.event_id.hex)
        # As the API says it of every item until it finds the list: nobody waits here for the first one to be applied.
        reader = event.recipient_user_id
        makes_list = reader is not None and event.recipient_wishlist_id == first_wishlist_id_for(reader)
        return structs.replace(
            event, timestamp=datetime.now(UTC), event_id=uuid7(), expires_at=None, created_wishlist=makes_list
        )

    def _anew(self, event: ShareEvent, number: int) -> ShareEvent | None:
        """The same done by another visitor, or with another product."""
        if event.event_type not in _AGAIN:
            return None
        event = self._now(event)
        if event.event_type is EventType.VIEWED:
            return structs.replace(event, page_view_id=uuid7(), visitor_hash=event.event_id.hex)
        if event.event_type is EventType.ITEM_ADDED and event.recipient_wishlist_id and event.product_id:
            place = self._products.index(event.product_id) + number
            product = self._products[place % len(self._products)]
            item = item_id_for(event.recipient_wishlist_id, product, event.share_id)
            return structs.replace(event, product_id=product, wishlist_item_id=item)
        return event

    def _count(self, event: ShareEvent) -> None:
        self.sent[event.event_type] += 1
        self.views_of_people += event.is_by_person
        if event.event_type is EventType.ITEM_ADDED:
            self.copies.add(event.wishlist_item_id or event.event_id)


async def prepare(connection: asyncpg.Connection, traffic: Traffic) -> None:
    """Write the traffic's people, lists and products into PostgreSQL."""
    await world.write(connection, traffic.people, datetime.now(UTC))


@asynccontextmanager
async def producer() -> AsyncIterator[EventProducer]:
    """The product's producer; all that was sent is acknowledged at the end."""
    made = EventProducer(KafkaSettings(), Codec(load_schemas()))
    await made.start()
    try:
        yield made
    finally:
        await made.close()


async def send(events: Iterator[ShareEvent], to: EventProducer, rate: float, seconds: float) -> int:
    """Send *rate* events a second by the clock, whoever keeps up; how many."""
    loop = asyncio.get_running_loop()
    began, sent = loop.time(), 0
    while (passed := loop.time() - began) < seconds:
        for event in itertools.islice(events, int(rate * passed) - sent):
            to.send_later(event)
            sent += 1
        await asyncio.sleep(_TICK_SECONDS)
    return sent


async def ask_api(people: api_world.World, api: str, seconds: float) -> dict[str, Figures]:
    """People at the API: shares are made, looked up and taken from."""
    made = {"create": people.creates(), "look_up": people.look_ups(), "add": people.adds()}
    return await run([Load(name, api, rate, made[name]) for name, rate in API_RATES.items()], seconds)
