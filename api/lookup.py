"""The public side: the shared list as JSON, and the page's beacon."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import orjson
from fastapi import APIRouter, Request
from pydantic import Field
from starlette.responses import Response

from api import events, openapi
from api.auth import MaybeUser
from api.bodies import Body, read_body
from api.errors import JSON, invalid
from api.reads import Opened
from api.services import Api, Services
from api.shares_model import SharedList, iso
from api.visitors import is_bot_of_api, visitor_hash, visitor_of
from schemas.ids import uuid7

router = APIRouter()

PATH = "/api/v2/wishlists/shared/{token}"


class PageView(Body):
    """What the page says once it is shown. Its ids are made by the page and mean nothing outside it."""

    page_view_id: str = Field(max_length=36, description="UUID of this showing of the page.")
    visitor_id: str | None = Field(None, max_length=64, description="Random name of the browser, for a day.")


@router.get(PATH, response_model=openapi.LookUp, responses=openapi.errors(401, 429))
@router.head(PATH, include_in_schema=False)
async def look_up(
    token: str, request: Request, user: MaybeUser, api: Api, page_view_id: UUID | None = None
) -> Response:
    """The shared list. A look-up is a view, counted once for each ``page_view_id``."""
    opened = await api.open_public(token, request, api.lookup_limit, recent=True)
    is_owner = user == opened.shown.owner_public_id
    if is_owner:  # who looks at what they have just done
        opened = await api.reader.open(token)
    count_view(api, request, opened, user, page_view_id or uuid7(), by_program=True)
    message = await api.messages.open(opened.share.owner_id, opened.share.message)
    body = {
        "wishlist": _wishlist(opened, message, is_owner=is_owner),
        "can_add_to_own_list": user is not None and not is_owner,
        "is_authenticated": user is not None,
    }
    # What is shown depends on who asks, so no cache may keep it.
    return Response(orjson.dumps(body), media_type=JSON, headers={"Cache-Control": "private, no-store"})


@router.post(
    f"{PATH}/views",
    status_code=204,
    responses=openapi.errors(401, 413, 429),
    openapi_extra=openapi.reads(PageView, signed_in=False),
)
async def page_viewed(token: str, request: Request, user: MaybeUser, api: Api) -> Response:
    """The page's beacon: a person has the list in front of them."""
    # The page itself has been counted as a look-up.
    await api.limiter.hit(api.view_limit, api.addresses.address_of(request))
    view = await read_body(request, PageView, any_type=True)
    try:
        page_view_id = UUID(view.page_view_id)
    except ValueError:
        raise invalid("page_view_id", "is not a UUID", "Send a UUID, one for each showing of the page") from None
    opened = await api.reader.open(token)
    count_view(api, request, opened, user, page_view_id, visitor_id=view.visitor_id, by_program=True)
    return Response(status_code=204)


def count_view(
    api: Services,
    request: Request,
    opened: Opened,
    user: str | None,
    page_view_id: UUID,
    *,
    visitor_id: str | None = None,
    by_program: bool = False,
    is_bot: bool = False,
) -> None:
    """Say that the list was seen, without making its reader wait. The owner's own look is none."""
    if user is not None and user == opened.shown.owner_public_id:
        return
    visitor = visitor_of(request, api.settings)
    who = user or visitor_id or visitor.fingerprint
    event = events.viewed(
        opened,
        visitor,
        page_view_id=page_view_id,
        is_bot=is_bot or request.method == "HEAD" or (by_program and is_bot_of_api(visitor.user_agent)),
        visitor_hash=visitor_hash(api.settings, opened.share.share_id, who, datetime.now(UTC)),
        is_authenticated=user is not None,
    )
    api.publisher.publish_later(event, is_row=opened.is_row)


def _wishlist(opened: Opened, message: str | None, *, is_owner: bool) -> dict[str, Any]:
    shown: SharedList = opened.shown
    body: dict[str, Any] = {
        "title": shown.title,
        "owner_display_name": shown.owner_display_name,
        "item_count": shown.item_count,
        "items": orjson.Fragment(shown.items),
        "total_value": orjson.Fragment(shown.total),
        "currency": shown.currency,
        "created_at": iso(shown.listed_at),
        "message": message,
    }
    if is_owner:
        body["share_view_count"] = shown.view_count
    return body
