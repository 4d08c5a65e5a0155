"""``/api/v2/me/devices``: where a user's push notifications go."""

from __future__ import annotations

import re
from typing import Literal

import orjson
from fastapi import APIRouter, Request
from pydantic import Field
from starlette.responses import Response

from api import openapi
from api.auth import User
from api.bodies import Body, read_body
from api.errors import JSON, ApiError, invalid, unauthorized
from api.services import Api

router = APIRouter()

PATH = "/api/v2/me/devices"
MOST_DEVICES = 20
# APNs tokens are hexadecimal, FCM's are base64url with colons; neither has ever been longer.
_TOKEN = re.compile(r"[A-Za-z0-9_:.-]{16,4096}")
_NO_STORE = {"Cache-Control": "private, no-store"}


class Token(Body):
    """The body of a withdrawal."""

    token: str = Field(max_length=4_096, description="The token that FCM or APNs gave to the app.")


class Registration(Token):
    """The body of a registration."""

    platform: Literal["ios", "android"] = Field(description="ios: APNs. android: FCM.")


@router.post(
    PATH,
    status_code=201,
    response_model=openapi.Device,
    responses=openapi.errors(401, 409, 413, 415),
    openapi_extra=openapi.reads(Registration),
)
async def register(request: Request, user: User, api: Api) -> Response:
    """Send push notifications to this device too. A token that somebody else had is this user's from now on."""
    body = await read_body(request, Registration)
    _check(body.token)
    held = await api.db.row(
        """SELECT u.id, count(d.id) FILTER (WHERE d.token <> $2) AS others
           FROM users u LEFT JOIN devices d ON d.user_id = u.id WHERE u.public_id = $1 GROUP BY u.id""",
        user,
        body.token,
    )
    if held is None:
        raise unauthorized("The authentication token names nobody we know")
    if held["others"] >= MOST_DEVICES:
        raise ApiError(409, "TOO_MANY_DEVICES", f"{MOST_DEVICES} devices are registered. Remove one first.")
    device = await api.db.value(
        """INSERT INTO devices (user_id, platform, token) VALUES ($1, $2, $3)
           ON CONFLICT (token) DO UPDATE SET user_id = EXCLUDED.user_id, platform = EXCLUDED.platform, seen_at = now()
           RETURNING id""",
        held["id"],
        body.platform,
        body.token,
    )
    answer = {"device_id": str(device), "platform": body.platform}
    return Response(orjson.dumps(answer), 201, media_type=JSON, headers=_NO_STORE)


@router.delete(PATH, status_code=204, responses=openapi.errors(401, 413, 415), openapi_extra=openapi.reads(Token))
async def withdraw(request: Request, user: User, api: Api) -> Response:
    """Send no more push notifications to this device; one that is not registered is none already."""
    body = await read_body(request, Token)
    _check(body.token)
    await api.db.value(
        """WITH gone AS (DELETE FROM devices d USING users u
                         WHERE d.user_id = u.id AND u.public_id = $1 AND d.token = $2 RETURNING 1)
           SELECT count(*) FROM gone""",
        user,
        body.token,
    )
    return Response(status_code=204)


def _check(token: str) -> None:
    if not _TOKEN.fullmatch(token):
        raise invalid("token", "is no device token", "Send the token as FCM or APNs gave it, 16 to 4096 characters")
