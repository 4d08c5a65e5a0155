"""``POST /api/v2/wishlists/my/items``: a reader copies an item of a shared list into their own."""

from __future__ import annotations

import contextlib
from datetime import UTC, datetime
from typing import Literal
from uuid import UUID

import msgspec
import orjson
from fastapi import APIRouter, Request
from pydantic import Field
from starlette.responses import Response

from api import events, openapi
from api.auth import User
from api.bodies import Body, read_body
from api.errors import JSON, ApiError, ShareNotFound, invalid, unauthorized
from api.idempotency import Plan
from api.reads import Opened
from api.services import Api, Services
from api.shares_model import iso
from api.visitors import visitor_of
from clients.faults import Unavailable
from schemas.event import ShareEvent
from schemas.ids import first_wishlist_id_for, item_id_for, public_item_id, public_wishlist_id, share_id_for, uuid7

router = APIRouter()

_READER = """
SELECT u.id AS reader_id, w.id AS list_id, w.public_id AS list_public_id, i.added_at,
       EXISTS (SELECT FROM event_outbox o WHERE o.share_token = $2) AS has_unsent
FROM users u
LEFT JOIN LATERAL (SELECT id, public_id FROM wishlists WHERE owner_id = u.id ORDER BY created_at, id LIMIT 1) w ON TRUE
LEFT JOIN LATERAL (
    SELECT added_at FROM wishlist_items
    WHERE wishlist_id = w.id AND product_id = $3 AND source_share_id = $4 AND removed_at IS NULL
) i ON TRUE
WHERE u.public_id = $1
"""


_MOST_LISTED = 1_000
# Also removed ones: what was removed since must not come back from the cache.
_MINE = f"""
SELECT i.public_id, i.product_id, i.added_at, i.removed_at, w.public_id AS list_public_id
FROM users u JOIN wishlists w ON w.owner_id = u.id JOIN wishlist_items i ON i.wishlist_id = w.id
WHERE u.public_id = $1 ORDER BY i.added_at DESC LIMIT {_MOST_LISTED}
"""


class _Copy(msgspec.Struct, frozen=True, kw_only=True):
    """A copied item as Redis keeps it until it is a row. *is_unsent*: its event could not be published (yet)."""

    wishlist_item_id: str
    product_id: str
    added_at: datetime
    wishlist_id: str
    event_id: UUID = msgspec.field(default_factory=uuid7)
    is_unsent: bool = False

    def shown(self) -> dict[str, str | None]:
        """As its reader sees it."""
        return {
            "wishlist_item_id": self.wishlist_item_id,
            "product_id": self.product_id,
            "added_at": iso(self.added_at),
            "wishlist_id": self.wishlist_id,
        }


class AddRequest(Body):
    """The body of an add request (spec, trace req_ws_004_add)."""

    product_id: str = Field(min_length=1, max_length=64, description="The product to copy.")
    source: Literal["shared_wishlist"] = Field(description="Where it comes from.")
    source_token: str = Field(min_length=1, max_length=64, description="Token of the shared list.")


@router.post(
    "/api/v2/wishlists/my/items",
    status_code=201,
    response_model=openapi.ItemAdded,
    responses=openapi.errors(401, 413, 415, 429),
    openapi_extra=openapi.reads(AddRequest),
)
async def add_to_my_list(request: Request, user: User, api: Api) -> Response:
    """Copy an item. The same item of the same share into the same list is one item, however often it is asked."""
    body = await read_body(request, AddRequest)
    token = body.source_token
    opened = await _open(api, request, token)
    row = await api.db.row(_READER, user, token, body.product_id, share_id_for(token))
    if user == opened.shown.owner_public_id:
        raise invalid("source_token", "is a share of your own list", "Add items from lists of other people")
    if not _shows(opened, body.product_id):
        # It may have been put there since the list was read.
        opened = await api.reader.open(token)
        if not _shows(opened, body.product_id):
            raise ApiError(404, "ITEM_NOT_FOUND", "This product is not on the shared list")
    if row is None:
        raise unauthorized("The authentication token names nobody we know")
    list_id: UUID = row["list_id"] or first_wishlist_id_for(row["reader_id"])
    item_id = item_id_for(list_id, body.product_id, opened.share.share_id)
    copy = _Copy(
        wishlist_item_id=public_item_id(item_id),
        product_id=body.product_id,
        added_at=row["added_at"] or datetime.now(UTC),
        wishlist_id=row["list_public_id"] or public_wishlist_id(list_id),
    )
    if row["added_at"] is None:
        copy = await _kept(api, user, copy)
        event = events.item_added(
            opened,
            Plan(fingerprint="", token=token, event_id=copy.event_id, at=copy.added_at),
            visitor_of(request, api.settings),
            reader_id=row["reader_id"],
            list_id=list_id,
            item_id=item_id,
            product_id=body.product_id,
            # Every item until the list is a row says so: whichever is applied first can make the list.
            created_wishlist=row["list_id"] is None,
        )
        await _publish(api, user, copy, event, behind_others=row["has_unsent"])
    return Response(orjson.dumps(copy.shown()), 201, media_type=JSON)


@router.get(
    "/api/v2/wishlists/my/items",
    response_model=openapi.MyItems,
    responses=openapi.errors(401),
    openapi_extra=openapi.SIGNED_IN,
)
async def list_my_items(user: User, api: Api) -> Response:
    """The items of the reader's own lists, newest first, with copies that are not applied yet."""
    rows = await api.db.rows(_MINE, user)
    items = {
        row["public_id"]: {
            "wishlist_item_id": row["public_id"],
            "product_id": row["product_id"],
            "added_at": iso(row["added_at"]),
            "wishlist_id": row["list_public_id"],
        }
        for row in rows
        if row["removed_at"] is None
    }
    applied = {row["public_id"] for row in rows}
    with contextlib.suppress(Unavailable):
        for item, raw in (await api.cache.recently_added(user)).items():
            if item not in applied and not (copy := msgspec.json.decode(raw, type=_Copy)).is_unsent:
                items[item] = copy.shown()
    newest_first = sorted(items.values(), key=lambda item: str(item["added_at"]), reverse=True)[:_MOST_LISTED]
    headers = {"Cache-Control": "private, no-store"}
    return Response(orjson.dumps({"items": newest_first}), media_type=JSON, headers=headers)


async def _open(api: Services, request: Request, token: str) -> Opened:
    """Open the share; only guesses count against the look-up limit here."""
    try:
        return await api.reader.open_recent(token)
    except ShareNotFound:
        await api.limiter.hit(api.lookup_limit, api.addresses.address_of(request))
        raise


def _shows(opened: Opened, product_id: str) -> bool:
    return any(item["product_id"] == product_id for item in orjson.loads(opened.shown.items))


async def _kept(api: Services, user: str, copy: _Copy) -> _Copy:
    """One event for one item: a second click before the first is applied says the same event again."""
    try:
        kept = await api.cache.remember_added(user, copy.wishlist_item_id, msgspec.json.encode(copy))
    except Unavailable:
        return copy
    return msgspec.json.decode(kept, type=_Copy)


async def _publish(api: Services, user: str, copy: _Copy, event: ShareEvent, *, behind_others: bool) -> None:
    try:
        await api.publisher.publish(event, behind_others=behind_others)
    except Unavailable:
        await _note(api, user, msgspec.structs.replace(copy, is_unsent=True))
        raise
    if copy.is_unsent:
        await _note(api, user, msgspec.structs.replace(copy, is_unsent=False))


async def _note(api: Services, user: str, copy: _Copy) -> None:
    with contextlib.suppress(Unavailable):
        await api.cache.correct_added(user, copy.wishlist_item_id, msgspec.json.encode(copy))
