"""What a user wants to hear of: ``/api/v2/me/notification-preferences``, and links without signing in (RFC 8058)."""

from __future__ import annotations

from typing import Any

import orjson
from fastapi import APIRouter, Request
from pydantic import Field
from starlette.responses import Response

from api import openapi
from api.auth import User
from api.bodies import Body, read_body
from api.errors import HTML, JSON, ApiError, invalid, unauthorized
from api.services import Api, Services
from api.templates import render
from clients.unsubscribe import BadLink, Wish

router = APIRouter()

CATEGORIES = ("social", "orders")
CHANNELS = ("digest", "push")
PATH = "/api/v2/me/notification-preferences"
_NO_STORE = {"Cache-Control": "private, no-store"}


class Channels(Body):
    """By which ways notifications of a category come; what is left out stays."""

    digest: bool | None = Field(None, description="One message a day.")
    push: bool | None = Field(None, description="At once, to each device.")


class Preferences(Body):
    """The body of a change; categories that are left out stay as they are."""

    social: Channels | None = Field(None, description="What friends do with shared wishlists.")
    orders: Channels | None = Field(None, description="What becomes of orders.")


@router.get(PATH, response_model=openapi.Preferences, responses=openapi.errors(401), openapi_extra=openapi.SIGNED_IN)
async def get_preferences(user: User, api: Api) -> Response:
    """What the signed-in user hears of; what they have said nothing about is on."""
    return await _answer(api, user)


@router.put(
    PATH,
    response_model=openapi.Preferences,
    responses=openapi.errors(401, 413, 415),
    openapi_extra=openapi.reads(Preferences),
)
async def put_preferences(request: Request, user: User, api: Api) -> Response:
    """Change some of it. What waits to be sent heeds it too."""
    body = await read_body(request, Preferences)
    wanted = [
        (category, channel, enabled)
        for category in CATEGORIES
        if (channels := getattr(body, category)) is not None
        for channel in CHANNELS
        if (enabled := getattr(channels, channel)) is not None
    ]
    if not wanted:
        raise invalid("body", "changes nothing", 'Send for example {"social": {"digest": false}}')
    await _set(api, user, wanted)
    return await _answer(api, user)


@router.get("/unsubscribe/{token}", include_in_schema=False)
async def ask_unsubscribe(token: str, api: Api) -> Response:
    """A page with a button: programs that follow links in letters must not unsubscribe anybody."""
    wish = _read(token, api)
    what = _WORDS[wish.category, wish.channel]
    text = f"You will get no more {what}. In your settings you can switch them on again."
    page = render("unsubscribe.html", title="No more of these?", text=text)
    return Response(page, media_type=HTML, headers=_NO_STORE)


@router.post("/unsubscribe/{token}", include_in_schema=False)
async def unsubscribe(token: str, api: Api) -> Response:
    """The button, and the one click of mail programs."""
    wish = _read(token, api)
    await _set(api, wish.user_id, [(wish.category, wish.channel, False)])
    text = f"You will get no more {_WORDS[wish.category, wish.channel]}."
    return Response(render("notice.html", title="Done", text=text), media_type=HTML, headers=_NO_STORE)


_WORDS = {
    (category, channel): f"{word} about {about}"
    for category, about in (("social", "your shared wishlists"), ("orders", "your orders"))
    for channel, word in (("digest", "daily digests"), ("push", "push notifications"))
}


def _read(token: str, api: Services) -> Wish:
    try:
        wish = api.unsubscribe.read(token[:1_000])
    except BadLink:
        wish = None
    if wish is None or (wish.category, wish.channel) not in _WORDS:
        raise ApiError(404, "NOT_FOUND", "This link is not one of ours. Sign in to change what you hear of.")
    return wish


async def _set(api: Services, user: str, wanted: list[tuple[str, str, bool]]) -> None:
    await api.db.value(
        """WITH done AS (
               INSERT INTO notification_preferences (user_id, category, channel, enabled)
               SELECT u.id, of.category, of.channel, of.enabled
               FROM users u, unnest($2::text[], $3::text[], $4::boolean[]) AS of(category, channel, enabled)
               WHERE u.public_id = $1
               ON CONFLICT (user_id, category, channel) DO UPDATE SET enabled = EXCLUDED.enabled, updated_at = now()
               RETURNING 1)
           SELECT count(*) FROM done""",
        user,
        [category for category, _, _ in wanted],
        [channel for _, channel, _ in wanted],
        [enabled for _, _, enabled in wanted],
    )


async def _answer(api: Services, user: str) -> Response:
    rows = await api.db.rows(
        """SELECT p.category, p.channel, p.enabled FROM users u
           LEFT JOIN notification_preferences p ON p.user_id = u.id WHERE u.public_id = $1""",
        user,
    )
    if not rows:
        raise unauthorized("The authentication token names nobody we know")
    said = {(row["category"], row["channel"]): row["enabled"] for row in rows}
    body: dict[str, Any] = {
        category: {channel: said.get((category, channel), True) for channel in CHANNELS} for category in CATEGORIES
    }
    return Response(orjson.dumps(body), media_type=JSON, headers=_NO_STORE)
