"""The API process, put together. This is the only place that knows how its parts are made."""

from __future__ import annotations

import asyncio
import contextlib
import gc
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from functools import cache

from fastapi import FastAPI
from starlette.types import ASGIApp

from api import (
    create,
    dashboard,
    devices,
    errors,
    health,
    items,
    lookup,
    me,
    page,
    preferences,
    preview,
    segment,
    shares,
    webhook,
)
from api.addresses import AddressBook
from api.auth import Authenticator, key_source
from api.breaker import BreakerView
from api.cache import ShareCache
from api.cors import with_cors
from api.database import Database
from api.document import finished, operation_id
from api.express import Express, Shortcut, shortcuts
from api.idempotency import Plans
from api.limits import Limit, Limiter
from api.messages import MessageBox
from api.middleware import Surroundings
from api.pictures import Pictures
from api.publisher import Publisher
from api.reads import ShareReader
from api.redis_gate import RedisGate
from api.services import Services
from clients import outbox
from clients.cache import open_redis
from clients.cdn import CdnPurge
from clients.links import SHARE_LIMIT
from clients.objects import ObjectStore
from clients.periodic import JobBoard, every
from clients.postgres import open_pool
from clients.producer import EventProducer
from clients.registry import open_codec
from clients.unsubscribe import UnsubscribeLinks
from config.settings import (
    ApiSettings,
    AuthSettings,
    KafkaSettings,
    ObjectStoreSettings,
    PostgresSettings,
    RedisSettings,
    SegmentSettings,
    UnsubscribeSettings,
    WebhookSettings,
    load,
)

_DRAIN_SECONDS = 5.0


@dataclass(frozen=True, kw_only=True)
class Settings:
    """Everything that the API reads from its environment."""

    api: ApiSettings = field(default_factory=lambda: load(ApiSettings))
    auth: AuthSettings = field(default_factory=lambda: load(AuthSettings))
    kafka: KafkaSettings = field(default_factory=lambda: load(KafkaSettings))
    postgres: PostgresSettings = field(default_factory=lambda: load(PostgresSettings))
    redis: RedisSettings = field(default_factory=lambda: load(RedisSettings))
    objects: ObjectStoreSettings = field(default_factory=lambda: load(ObjectStoreSettings))
    unsubscribe: UnsubscribeSettings = field(default_factory=lambda: load(UnsubscribeSettings))
    segment: SegmentSettings = field(default_factory=lambda: load(SegmentSettings))
    webhooks: WebhookSettings = field(default_factory=lambda: load(WebhookSettings))


def make_app(settings: Settings) -> ASGIApp:
    """The application; it connects when its lifespan starts, and serves whatever is reachable by then."""
    authenticator = Authenticator(settings.auth, key_source(settings.auth))
    addresses = AddressBook(settings.api.trusted_proxies)

    @contextlib.asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        async with _running(settings, authenticator, addresses) as services:
            app.state.services = services
            # What is loaded by now stays: a look through all of it would hold up every request that waits.
            gc.collect()
            gc.freeze()
            yield

    app = FastAPI(
        title="Wishlist sharing",
        version="2",
        lifespan=lifespan,
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
        generate_unique_id_function=operation_id,
    )
    app.add_middleware(Surroundings)
    errors.install(app)
    # The first that matches is taken: what is asked most comes first.
    for module in (
        page, lookup, create, items, preview, shares, segment, me, preferences, devices, webhook, dashboard, health
    ):  # fmt: skip
        app.include_router(module.router)
    document = app.openapi
    app.openapi = cache(lambda: finished(document()))  # type: ignore[method-assign]  # FastAPI's documented way
    return with_cors(Express(app, shortcuts=_shortcuts(), around=Surroundings), settings.api.cors_origins)


def _shortcuts() -> list[Shortcut]:
    most_asked = (page.show_page, lookup.look_up, create.create_share, items.add_to_my_list)
    return shortcuts(*most_asked, routers=[module.router for module in (page, lookup, create, items)])


@contextlib.asynccontextmanager
async def _running(settings: Settings, authenticator: Authenticator, addresses: AddressBook) -> AsyncIterator[Services]:
    codec = await asyncio.to_thread(open_codec, settings.kafka)
    pool = await open_pool(settings.postgres)
    db = Database(pool, settings.api.database_seconds)
    gate = RedisGate(open_redis(settings.redis))
    producer = EventProducer(settings.kafka, codec)
    await producer.start()
    cache = ShareCache(gate, settings.redis.share_ttl_seconds)
    breaker = BreakerView(gate)
    store = ObjectStore(settings.objects)
    publisher = Publisher(producer=producer, pool=pool, codec=codec)
    services = Services(
        settings=settings.api,
        db=db,
        gate=gate,
        cache=cache,
        reader=ShareReader(db=db, cache=cache, codec=codec),
        publisher=publisher,
        producer=producer,
        segment_keys=settings.segment.keys,
        limiter=Limiter(gate, fallback_per_minute=settings.api.fallback_limit_per_minute),
        share_limit=_share_limit(settings.api.share_limit_per_hour),
        lookup_limit=_lookup_limit("share_lookup", settings.api.lookup_limit_per_minute),
        preview_limit=_lookup_limit("preview", settings.api.lookup_limit_per_minute),
        view_limit=_lookup_limit("share_view", settings.api.lookup_limit_per_minute),
        authenticator=authenticator,
        addresses=addresses,
        plans=Plans(gate),
        store=store,
        pictures=Pictures(store=store, db=db, breaker=breaker),
        breaker=breaker,
        messages=MessageBox(db),
        cdn=CdnPurge(settings.api.purge_url),
        unsubscribe=UnsubscribeLinks(settings.unsubscribe, settings.api.public_url),
        webhooks=settings.webhooks,
        board=JobBoard(),
    )
    work = outbox.OutboxRelay(pool, producer).round
    relay = asyncio.create_task(every(outbox.EVERY_SECONDS, work, name="event outbox", board=services.board))
    try:
        yield services
    finally:
        await publisher.drain(_DRAIN_SECONDS)
        await services.cdn.close()
        relay.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await relay
        await producer.close()
        await gate.close()
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(pool.close(), _DRAIN_SECONDS)


def _share_limit(hits: int) -> Limit:
    return Limit(SHARE_LIMIT, hits, 3_600, f"Share rate limit exceeded. Maximum {hits} shares per hour.")


def _lookup_limit(name: str, hits: int) -> Limit:
    return Limit(name, hits, 60, f"Look-up rate limit exceeded. Maximum {hits} requests per minute.")
