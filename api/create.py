"""``POST /api/v2/wishlists/{id}/share``: a link, made of an event."""

from __future__ import annotations

import asyncio
import hashlib
from datetime import timedelta
from typing import Annotated, Any, Literal
from uuid import UUID

import asyncpg
import orjson
from fastapi import APIRouter, Request
from pydantic import Field
from starlette.responses import Response

from api import events, openapi
from api.auth import User
from api.bodies import Body, read_body
from api.errors import JSON, ApiError, invalid
from api.idempotency import Plan, fingerprint_of, key_of
from api.ownership import check_id, checked
from api.reads import list_of_items
from api.services import Api, Services
from api.shares_model import Share, SharedList, iso
from api.visitors import visitor_of
from clients.faults import Unavailable
from clients.logs import get_logger
from schemas.event import Channel, ShareEvent
from schemas.ids import public_share_id, share_id_for

router = APIRouter()

# Without Redis the link must be found in PostgreSQL: its row is waited for, then the outbox holds it.
_WAIT_FOR_ROW_SECONDS = 1.0
_LOOK_EVERY_SECONDS = 0.05

_LIST = """
SELECT w.id, w.title, w.created_at AS listed_at, u.id AS owner_id, u.public_id AS owner, u.display_name,
       (SELECT json_agg(json_build_object(
                   'id', i.id, 'public_id', i.public_id,
                   'product', json_build_object('product_id', c.id, 'name', c.name, 'price', c.price,
                                                'currency', c.currency, 'image_url', c.image_url,
                                                'in_stock', c.in_stock)) ORDER BY i.added_at, i.id)::text
        FROM wishlist_items i JOIN products c ON c.id = i.product_id
        WHERE i.wishlist_id = w.id AND i.removed_at IS NULL) AS items
FROM wishlists w JOIN users u ON u.id = w.owner_id
WHERE w.public_id = $1
"""


class ShareRequest(Body):
    """The body of a create request (spec, "API Documentation")."""

    channel: Literal["copy_link", "email", "facebook", "twitter", "whatsapp"] = Field(
        description="How the link will travel."
    )
    expires_in_days: Literal[7, 30] | None = Field(30, description="7, 30, or null for a link that never expires.")
    hidden_items: list[Annotated[str, Field(max_length=64)]] | None = Field(
        None, max_length=1_000, description="Ids of items to leave out of the shared view."
    )
    message: str | None = Field(None, max_length=500, description="A personal message, shown with the list.")


@router.post(
    "/api/v2/wishlists/{wishlist}/share",
    status_code=201,
    response_model=openapi.ShareCreated,
    responses=openapi.errors(401, 403, 413, 415, 429),
    openapi_extra=openapi.reads(ShareRequest),
)
async def create_share(wishlist: str, request: Request, user: User, api: Api) -> Response:
    """Share a wishlist."""
    if not is_enabled(user, api.settings.sharing_percentage):
        raise ApiError(403, "FEATURE_DISABLED", "Sharing wishlists is not available to you yet")
    body = await read_body(request, ShareRequest)
    key = key_of(request)
    check_id(wishlist)
    row = checked(
        await api.db.row(_LIST, wishlist),
        wishlist,
        user,
        "You can only share wishlists you own",
    )
    plan = await api.plans.plan(user, key, fingerprint_of(wishlist, body.model_dump_json()) if key else "")
    if plan.answer is not None:
        return Response(plan.answer, 201, media_type=JSON, headers={"Idempotent-Replayed": "true"})
    items: list[dict[str, Any]] = orjson.loads(row["items"] or "[]")
    try:
        hidden = _hidden(body, items)
    except ApiError:
        await api.plans.refused(user, key, plan)
        raise
    verdict = await api.limiter.hit(api.share_limit, user, member=plan.event_id.hex)
    message = await api.messages.seal(row["owner_id"], body.message)
    visitor = visitor_of(request, api.settings)
    share = _share(plan, body, row, [item["id"] for item in hidden], message, visitor.variant)
    visible = [item["product"] for item in items if item not in hidden]
    event = events.created(
        share,
        plan,
        visitor,
        product_ids=tuple(item["product_id"] for item in visible),
    )
    await api.publisher.publish(event)
    await _make_visible(api, event, share, _shown(row, visible))
    answer = orjson.dumps(
        {
            "share_url": api.share_url(share.token),
            "share_token": share.token,
            "preview_image_url": api.generic_picture_url
            if await api.breaker.is_open()
            else api.picture_url(share.token),
            "expires_at": iso(share.expires_at),
            "item_count": len(visible),
            "hidden_items_count": len(hidden),
            "share_id": public_share_id(share.share_id),
        }
    )
    await api.plans.answered(user, key, plan, answer)
    return Response(answer, 201, media_type=JSON, headers=verdict.headers())


def is_enabled(user: str, percentage: int) -> bool:
    """Whether the flag ``wishlist-sharing`` is on for *user*: the same answer in every process, for ever."""
    bucket = int.from_bytes(hashlib.sha256(f"wishlist-sharing:{user}".encode()).digest()[:8], "big") % 100
    return bucket < percentage


def _hidden(body: ShareRequest, items: list[dict[str, Any]]) -> list[dict[str, Any]]:
    wanted = set(body.hidden_items or ())
    hidden = [item for item in items if item["public_id"] in wanted]
    if unknown := sorted(wanted - {item["public_id"] for item in hidden}):
        named = ", ".join(repr(item) for item in unknown[:5])
        raise invalid("hidden_items", f"{named} is not on this wishlist", "List ids of items that are on it")
    return hidden


def _share(
    plan: Plan, body: ShareRequest, row: asyncpg.Record, hidden: list[str], message: str | None, variant: str | None
) -> Share:
    days = body.expires_in_days
    return Share(
        share_id=share_id_for(plan.token),
        token=plan.token,
        wishlist_id=row["id"],
        owner_id=row["owner_id"],
        channel=Channel(body.channel),
        expires_at=None if days is None else plan.at.replace(microsecond=0) + timedelta(days=days),
        hidden_item_ids=tuple(UUID(item) for item in hidden),
        message=message,
        created_at=plan.at,
        variant=variant,
    )


def _shown(row: asyncpg.Record, visible: list[dict[str, Any]]) -> SharedList:
    items, total, currency = list_of_items(visible)
    return SharedList(
        title=row["title"],
        owner_display_name=row["display_name"],
        owner_public_id=row["owner"],
        listed_at=row["listed_at"],
        items=items,
        item_count=len(visible),
        total=total,
        currency=currency,
    )


async def _make_visible(api: Services, event: ShareEvent, share: Share, shown: SharedList) -> None:
    """See to it that the link works before anyone has it."""
    try:
        await api.cache.put_new(share, shown)
        return
    except Unavailable as error:
        get_logger().warning("a share is made without Redis", error=str(error))
    give_up = asyncio.get_running_loop().time() + _WAIT_FOR_ROW_SECONDS
    while asyncio.get_running_loop().time() < give_up:
        if await api.db.value("SELECT EXISTS (SELECT FROM wishlist_shares WHERE id = $1)", share.share_id):
            return
        await asyncio.sleep(_LOOK_EVERY_SECONDS)
    await api.publisher.keep(event)
