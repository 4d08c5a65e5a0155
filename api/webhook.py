"""``/api/v2/me/webhook``: where a user is called about the events of their own shares."""

from __future__ import annotations

from typing import Any
from uuid import UUID

import orjson
from fastapi import APIRouter, Request
from pydantic import Field
from starlette.responses import Response

from api import openapi
from api.auth import User
from api.bodies import Body, read_body
from api.errors import JSON, ApiError, invalid, unauthorized
from api.services import Api, Services
from clients import webhooks
from clients.webhook_call import LONGEST_URL, BadUrl, check_url

router = APIRouter()

PATH = "/api/v2/me/webhook"
_NO_STORE = {"Cache-Control": "private, no-store"}


class Webhook(Body):
    """The body of a setting."""

    url: str = Field(max_length=LONGEST_URL, description="An https URL at a public address.")
    rotate_secret: bool = Field(
        False, description="Make a new secret. For a day, calls are signed with the former one too."
    )


@router.get(PATH, response_model=openapi.Webhook, responses=openapi.errors(401), openapi_extra=openapi.SIGNED_IN)
async def get_webhook(user: User, api: Api) -> Response:
    """The signed-in user's webhook, and how it does."""
    row = await api.db.row(webhooks.SHOW, await _id(api, user))
    if row is None:
        raise ApiError(404, "NOT_FOUND", f"There is no webhook. PUT {PATH} makes one.")
    return _answer(webhooks.described(row))


@router.put(
    PATH,
    response_model=openapi.WebhookSet,
    responses=openapi.errors(401, 413, 415),
    openapi_extra=openapi.reads(Webhook),
)
async def put_webhook(request: Request, user: User, api: Api) -> Response:
    """Have this URL called; one that was disabled is called again. The secret is told only here, when it is new."""
    body = await read_body(request, Webhook)
    try:
        check_url(body.url, api.webhooks)
    except BadUrl as error:
        raise invalid("url", error.problem, error.remedy) from None
    secret = webhooks.new_secret()
    row = await api.db.row(webhooks.SET, await _id(api, user), body.url, secret, body.rotate_secret)
    assert row is not None
    told = {"secret": secret} if row["secret"] == secret else {}
    return _answer({**webhooks.described(row), **told})


@router.delete(PATH, status_code=204, responses=openapi.errors(401), openapi_extra=openapi.SIGNED_IN)
async def delete_webhook(user: User, api: Api) -> Response:
    """No more calls, not even about what has happened already."""
    await api.db.value(webhooks.REMOVE, await _id(api, user))
    return Response(status_code=204)


async def _id(api: Services, user: str) -> UUID:
    found: UUID | None = await api.db.value("SELECT id FROM users WHERE public_id = $1", user)
    if found is None:
        raise unauthorized("The authentication token names nobody we know")
    return found


def _answer(body: dict[str, Any]) -> Response:
    return Response(orjson.dumps(body), media_type=JSON, headers=_NO_STORE)
