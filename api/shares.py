"""The owner's side of shares: list, read, change, revoke, show and hide items, figures."""

from __future__ import annotations

import contextlib
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any, Literal

import asyncpg
import orjson
from fastapi import APIRouter, Request
from pydantic import Field
from starlette.responses import Response

from api import events, openapi
from api.auth import User
from api.bodies import Body, read_body
from api.errors import JSON, ApiError, ServiceUnavailable, invalid
from api.ownership import OwnedShare, ShareClosed, check_id, checked, owned_share
from api.services import Api, Services
from api.shares_model import Share, iso
from api.visitors import visitor_of
from clients.faults import Unavailable
from schemas.event import EventType, ShareEvent
from schemas.ids import public_share_id

router = APIRouter()

PATH = "/api/v2/wishlists/{wishlist}/shares/{token}"
_MOST_LISTED = 500
_ERRORS = openapi.errors(401, 403, 409)
_CHANGE_ERRORS = openapi.errors(401, 403, 409, 413, 415)
_FORBIDDEN = "You can only manage shares of wishlists you own"

_SHARES = """
SELECT s.*, ARRAY(SELECT i.public_id FROM share_item_visibility v JOIN wishlist_items i ON i.id = v.item_id
                  WHERE v.share_id = s.id AND NOT v.visible AND i.removed_at IS NULL
                  ORDER BY i.added_at) AS hidden_items
FROM wishlist_shares s
"""
_REVOKE = """
UPDATE wishlist_shares SET is_revoked = TRUE, revoked_at = least(revoked_at, $2), updated_at = greatest(updated_at, $2)
WHERE id = $1
"""
# The same rule as the persist agent's, so that it does not matter which of the two comes first.
_TOGGLE = """
INSERT INTO share_item_visibility AS t (share_id, item_id, visible, changed_at, event_id)
SELECT s.id, $2, $3, $4, $5 FROM wishlist_shares s WHERE s.id = $1
ON CONFLICT (share_id, item_id) DO UPDATE
SET visible = EXCLUDED.visible, changed_at = EXCLUDED.changed_at, event_id = EXCLUDED.event_id
WHERE (t.changed_at, t.event_id) < (EXCLUDED.changed_at, EXCLUDED.event_id)
"""
_SETTINGS = """
UPDATE wishlist_shares SET expires_at = $2, settings_at = $3, settings_event = $4, snapshot_items = $5,
       updated_at = greatest(updated_at, $3)
WHERE id = $1 AND (settings_at IS NULL OR (settings_at, settings_event) < ($3, $4))
"""
_SHOWN_NOW = """
SELECT i.id FROM wishlist_items i
LEFT JOIN share_item_visibility v ON v.share_id = $1 AND v.item_id = i.id
WHERE i.wishlist_id = $2 AND i.removed_at IS NULL AND coalesce(v.visible, TRUE)
"""


class ShareSettings(Body):
    """The body of a change; what is left out stays."""

    expires_in_days: Literal[7, 30] | None = Field(None, description="7 or 30 days from now, or null for never.")
    snapshot: bool | None = Field(None, description="True: items that come later stay out until they are shown.")


class ItemVisibility(Body):
    """The body of an item's switch."""

    visible: bool = Field(description="Whether readers of this share see the item.")


@router.get(
    "/api/v2/wishlists/{wishlist}/shares",
    response_model=openapi.ShareList,
    responses=_ERRORS,
    openapi_extra=openapi.SIGNED_IN,
)
async def list_shares(wishlist: str, user: User, api: Api) -> Response:
    """Every share of a wishlist, newest first, with those that are not applied yet."""
    check_id(wishlist)
    owned = checked(
        await api.db.row(
            "SELECT w.id, u.public_id AS owner FROM wishlists w JOIN users u ON u.id = w.owner_id "
            "WHERE w.public_id = $1",
            wishlist,
        ),
        wishlist,
        user,
        _FORBIDDEN,
    )
    rows = await api.db.rows(
        f"{_SHARES} WHERE s.wishlist_id = $1 ORDER BY s.created_at DESC LIMIT {_MOST_LISTED}", owned["id"]
    )
    shares = {row["share_token"]: await _of_row(api, row) for row in rows}
    for share in await _not_applied(api, owned):
        if share.token not in shares:
            shares[share.token] = await _of_share(api, share)
    newest_first = sorted(shares.values(), key=lambda share: str(share["created_at"]), reverse=True)
    return _json({"shares": newest_first})


@router.get(PATH, response_model=openapi.ShareState, responses=_ERRORS, openapi_extra=openapi.SIGNED_IN)
async def get_share(wishlist: str, token: str, user: User, api: Api) -> Response:
    """One share."""
    return await _answer(api, await _owned(api, wishlist, token, user))


@router.get(f"{PATH}/analytics", response_model=openapi.Figures, responses=_ERRORS, openapi_extra=openapi.SIGNED_IN)
async def get_analytics(wishlist: str, token: str, user: User, api: Api) -> Response:
    """A share's figures, for its owner only (spec, "Privacy Controls")."""
    owned = await _owned(api, wishlist, token, user)
    row = await api.db.row("SELECT * FROM wishlist_shares WHERE id = $1", owned.share.share_id)
    views, added = (row["view_count"], row["items_added"]) if row else (0, 0)
    return _json(
        {
            "share_id": public_share_id(owned.share.share_id),
            "view_count": views,
            "raw_view_count": row["raw_view_count"] if row else 0,
            "unique_viewers": row["unique_viewers"] if row else 0,
            "items_added": added,
            "conversion_rate": round(added / views, 4) if views else 0.0,
            "created_at": iso(owned.share.created_at),
            "last_viewed_at": iso(row["last_viewed_at"]) if row else None,
        }
    )


@router.patch(
    PATH, response_model=openapi.ShareState, responses=_CHANGE_ERRORS, openapi_extra=openapi.reads(ShareSettings)
)
async def change_share(wishlist: str, token: str, request: Request, user: User, api: Api) -> Response:
    """Change a share's expiry, or freeze which items it shows."""
    body = await read_body(request, ShareSettings)
    if not body.model_fields_set:
        raise invalid("body", "changes nothing", "Send expires_in_days, snapshot or both")
    owned = _still_open(await _owned(api, wishlist, token, user))
    share = owned.share
    if "expires_in_days" in body.model_fields_set:
        days = body.expires_in_days
        now = datetime.now(UTC).replace(microsecond=0)
        share = replace(share, expires_at=None if days is None else now + timedelta(days=days))
    snapshot = owned.snapshot
    if body.snapshot is not None:
        if not owned.is_row and not await _row_exists(api, share):
            raise ServiceUnavailable("The share is being written. Try again in a moment.")
        if not body.snapshot:
            snapshot = None
        elif snapshot is None:
            shown = await api.db.rows(_SHOWN_NOW, share.share_id, share.wishlist_id)
            snapshot = tuple(row["id"] for row in shown)
    event = events.settings_changed(share, visitor_of(request, api.settings), snapshot_item_ids=snapshot)
    await api.publisher.publish(event, behind_others=owned.has_unsent)
    await api.db.execute(_SETTINGS, share.share_id, share.expires_at, event.timestamp, event.event_id, snapshot)
    # The row's lock decides: whoever announces expiries was there first, or sees the new one.
    if await api.db.value("SELECT expired_at IS NOT NULL FROM wishlist_shares WHERE id = $1", share.share_id):
        raise ShareClosed(share.wishlist_id)
    await _cache_again(api, replace(share, changed_by=event.event_id))
    await api.purge_share(token)
    return await _answer(api, replace(owned, share=share))


@router.put(
    f"{PATH}/items/{{item}}",
    response_model=openapi.Visibility,
    responses=_CHANGE_ERRORS,
    openapi_extra=openapi.reads(ItemVisibility),
)
async def show_or_hide(wishlist: str, token: str, item: str, request: Request, user: User, api: Api) -> Response:
    """Show or hide one item in one share; it holds for the next look-up."""
    body = await read_body(request, ItemVisibility)
    owned = _still_open(await _owned(api, wishlist, token, user))
    item_id = await api.db.value(
        "SELECT id FROM wishlist_items WHERE wishlist_id = $1 AND public_id = $2 AND removed_at IS NULL",
        owned.share.wishlist_id,
        item[:64],
    )
    if item_id is None:
        raise ApiError(404, "ITEM_NOT_FOUND", "This wishlist has no such item")
    visitor = visitor_of(request, api.settings)
    event = events.item_switched(owned.share, visitor, item_id=item_id, visible=body.visible)
    await api.publisher.publish(event, behind_others=owned.has_unsent)
    await api.db.execute(_TOGGLE, owned.share.share_id, item_id, body.visible, event.timestamp, event.event_id)
    hidden = set(owned.share.hidden_item_ids) - {item_id} | (set() if body.visible else {item_id})
    await _cache_again(api, replace(owned.share, hidden_item_ids=tuple(hidden), changed_by=event.event_id))
    await api.purge_share(token)
    return _json({"item_id": item, "visible": body.visible})


@router.delete(PATH, status_code=204, responses=_ERRORS, openapi_extra=openapi.SIGNED_IN)
async def revoke_share(wishlist: str, token: str, request: Request, user: User, api: Api) -> Response:
    """Close a link for good. 204 means that no reader gets in any more, whatever fails next."""
    try:
        owned = await _owned(api, wishlist, token, user)
        wishlist_id = owned.share.wishlist_id
        if not owned.is_revoked:
            await _make_durable(api, owned, events.revoked(owned.share, visitor_of(request, api.settings)))
    except ShareClosed as closed:  # revoked before, and not a row yet
        wishlist_id = closed.wishlist_id
    try:
        await api.cache.bury(token, wishlist_id)
    except Unavailable:
        raise ServiceUnavailable(
            "The link is being revoked; the cache does not answer. Send the request again."
        ) from None
    await api.purge_share(token)
    return Response(status_code=204)


async def _make_durable(api: Services, owned: OwnedShare, event: ShareEvent) -> None:
    """Put the revocation where reads look: the share's row, or the outbox where there is none yet."""
    if owned.is_row:
        await api.publisher.publish(event, behind_others=owned.has_unsent)
        await api.db.execute(_REVOKE, owned.share.share_id, event.timestamp)
    else:
        await api.publisher.keep(event)


async def _owned(api: Services, wishlist: str, token: str, user: str) -> OwnedShare:
    return await owned_share(api.db, api.reader, wishlist=wishlist, token=token, user=user)


def _still_open(owned: OwnedShare) -> OwnedShare:
    """*owned* where it can still be changed; revoked and expired are final."""
    if owned.is_revoked or owned.is_expired or not owned.share.is_open(datetime.now(UTC)):
        raise ShareClosed(owned.share.wishlist_id)
    return owned


async def _row_exists(api: Services, share: Share) -> bool:
    return bool(await api.db.value("SELECT EXISTS (SELECT FROM wishlist_shares WHERE id = $1)", share.share_id))


async def _cache_again(api: Services, share: Share) -> None:
    try:
        await api.cache.replace(share)
        await api.cache.forget_view(share.token)
    except Unavailable:
        # The share's row has the change; where there is no row yet, the owner must know that readers may not see it.
        if not await _row_exists(api, share):
            raise ServiceUnavailable("The share is being written. Try again in a moment.") from None


async def _not_applied(api: Services, owned: asyncpg.Record) -> list[Share]:
    """Shares of a list that are in Redis or in the outbox and may not be rows yet."""
    shares = []
    with contextlib.suppress(Unavailable):
        shares = await api.cache.recent(owned["id"])
    waiting = await api.reader.waiting_events("event_type = ANY($1::text[])", [EventType.CREATED, EventType.REVOKED])
    revoked = {event.share_token for event in waiting if event.event_type is EventType.REVOKED}
    created = (event for event in waiting if event.event_type is EventType.CREATED)
    shares += [Share.of(event) for event in created if event.wishlist_id == owned["id"]]
    return [share for share in shares if share.token not in revoked]


async def _answer(api: Services, owned: OwnedShare) -> Response:
    row = await api.db.row(f"{_SHARES} WHERE s.id = $1", owned.share.share_id)
    return _json(await (_of_share(api, owned.share) if row is None else _of_row(api, row)))


async def _of_row(api: Services, row: asyncpg.Record) -> dict[str, Any]:
    now = datetime.now(UTC)
    is_expired = row["expired_at"] is not None or (row["expires_at"] is not None and row["expires_at"] <= now)
    return {
        **_described(api, row["share_token"]),
        "share_id": public_share_id(row["id"]),
        "channel": row["share_channel"],
        "status": "revoked" if row["is_revoked"] else "expired" if is_expired else "active",
        "created_at": iso(row["created_at"]),
        "expires_at": iso(row["expires_at"]),
        "message": await api.messages.open(row["created_by"], row["message"]),
        "hidden_items": row["hidden_items"],
        "snapshot": row["snapshot_items"] is not None,
        "view_count": row["view_count"],
        "items_added": row["items_added"],
    }


async def _of_share(api: Services, share: Share) -> dict[str, Any]:
    """A share that is no row yet; its hidden items are named once it is."""
    return {
        **_described(api, share.token),
        "share_id": public_share_id(share.share_id),
        "channel": str(share.channel),
        "status": "active" if share.is_open(datetime.now(UTC)) else "expired",
        "created_at": iso(share.created_at),
        "expires_at": iso(share.expires_at),
        "message": await api.messages.open(share.owner_id, share.message),
        "hidden_items": [],
        "snapshot": False,
        "view_count": 0,
        "items_added": 0,
    }


def _described(api: Services, token: str) -> dict[str, Any]:
    return {
        "share_token": token,
        "share_url": api.share_url(token),
        "preview_image_url": api.picture_url(token),
    }


def _json(body: dict[str, Any]) -> Response:
    return Response(orjson.dumps(body), media_type=JSON, headers={"Cache-Control": "private, no-store"})
