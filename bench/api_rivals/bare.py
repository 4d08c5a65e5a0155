"""The limit: a bare Starlette server that does only the round trips which the API cannot do without.

Same uvicorn and uvloop, same drivers and pools, same events and producer settings; no sign-in, no validation, no
outage handling, no metrics, no page. Create: one Lua call, one SELECT, one acknowledged produce, one SET. View and
look-up: one GET, one SELECT (and for the look-up one produce that nobody waits for). Add: one GET, one SELECT, one
acknowledged produce.
"""

from __future__ import annotations

import contextlib
import sys
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from uuid import UUID

import orjson
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from clients.cache import open_redis
from clients.postgres import open_pool
from clients.producer import EventProducer
from config.settings import KafkaSettings, PostgresSettings, RedisSettings
from schemas.codec import Codec, load_schemas
from schemas.event import Channel, EventType, ShareEvent
from schemas.ids import new_share_token, share_id_for, uuid7

_LIMIT = """
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', ARGV[1])
local used = redis.call('ZCARD', KEYS[1])
redis.call('ZADD', KEYS[1], ARGV[2], ARGV[3])
redis.call('PEXPIRE', KEYS[1], 3600000)
return used
"""
_OWNED = """
SELECT w.id, w.owner_id, u.public_id,
       (SELECT json_agg(i.product_id)::text FROM wishlist_items i WHERE i.wishlist_id = w.id) AS products
FROM wishlists w JOIN users u ON u.id = w.owner_id WHERE w.public_id = $1
"""
_SHARED = """
SELECT w.id, w.owner_id, w.title, u.display_name,
       (SELECT json_agg(json_build_object('product_id', c.id, 'name', c.name, 'price', c.price, 'currency', c.currency,
                                          'image_url', c.image_url, 'in_stock', c.in_stock) ORDER BY i.added_at)::text
        FROM wishlist_items i JOIN products c ON c.id = i.product_id
        WHERE i.wishlist_id = w.id AND i.removed_at IS NULL) AS items
FROM wishlist_shares s JOIN wishlists w ON w.id = s.wishlist_id JOIN users u ON u.id = w.owner_id
WHERE s.share_token = $1 AND NOT s.is_revoked
"""
codec = Codec(load_schemas())
producer = EventProducer(KafkaSettings(), codec)
redis = open_redis(RedisSettings())


@contextlib.asynccontextmanager
async def lifespan(app: Starlette) -> AsyncIterator[None]:
    app.state.pool = await open_pool(PostgresSettings())
    await producer.start()
    yield
    await producer.close()


def event(kind: EventType, token: str, wishlist: UUID, owner: UUID) -> ShareEvent:
    return ShareEvent(
        event_type=kind,
        wishlist_id=wishlist,
        user_id=owner,
        share_token=token,
        share_channel=Channel.COPY_LINK,
        item_count=8,
        timestamp=datetime.now(UTC),
        event_id=uuid7(),
        share_id=share_id_for(token),
    )


def answer(body: object, status: int = 200) -> Response:
    return Response(orjson.dumps(body), status, media_type="application/json")


async def create(request: Request) -> Response:
    await request.body()
    await redis.eval(_LIMIT, 1, f"bare:{request.path_params['wishlist']}", 0, 1, uuid7().hex)
    row = await request.app.state.pool.fetchrow(_OWNED, request.path_params["wishlist"])
    token = new_share_token()
    await producer.send(event(EventType.CREATED, token, row["id"], row["owner_id"]))
    await redis.set(f"share:{token}", row["products"], ex=3_600)
    return answer({"share_token": token}, 201)


async def page(request: Request) -> Response:
    token = request.path_params["token"]
    await redis.get(f"bare:{token}")
    row = await request.app.state.pool.fetchrow(_SHARED, token)
    return answer({"title": row["title"], "owner": row["display_name"], "items": orjson.Fragment(row["items"])})


async def look_up(request: Request) -> Response:
    token = request.path_params["token"]
    await redis.get(f"bare:{token}")
    row = await request.app.state.pool.fetchrow(_SHARED, token)
    producer.send_later(event(EventType.VIEWED, token, row["id"], row["owner_id"]))
    return answer({"title": row["title"], "owner": row["display_name"], "items": orjson.Fragment(row["items"])})


async def add(request: Request) -> Response:
    token = orjson.loads(await request.body())["source_token"]
    await redis.get(f"bare:{token}")
    row = await request.app.state.pool.fetchrow(_SHARED, token)
    # A view's event, so that the persist agent has no item to write for which nobody has asked.
    await producer.send(event(EventType.VIEWED, token, row["id"], row["owner_id"]))
    return answer({"product_id": "added"}, 201)


app = Starlette(
    lifespan=lifespan,
    routes=[
        Route("/api/v2/wishlists/{wishlist}/share", create, methods=["POST"]),
        Route("/wishlists/shared/{token}", page),
        Route("/api/v2/wishlists/shared/{token}", look_up),
        Route("/api/v2/wishlists/my/items", add, methods=["POST"]),
        Route("/healthz", lambda _: Response()),
    ],
)

if __name__ == "__main__":
    uvicorn.run(
        app,
        host="127.0.0.1",
        port=int(sys.argv[1]),
        loop="uvloop",
        log_config=None,
        access_log=False,
        proxy_headers=False,
        server_header=False,
    )
