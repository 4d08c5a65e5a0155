"""``/api/v2/me``: what a user has set about themselves. Settings are not events: this is their one writer."""

from __future__ import annotations

import re
import zoneinfo
from datetime import time
from functools import cache

import asyncpg
import orjson
from fastapi import APIRouter, Request
from pydantic import Field
from starlette.responses import Response

from api import openapi
from api.auth import User
from api.bodies import Body, read_body
from api.errors import JSON, invalid, unauthorized
from api.services import Api

router = APIRouter()

# Language, script and region of BCP 47: all that dates and prices need.
_LOCALE = re.compile(r"[a-z]{2,3}(-[A-Z][a-z]{3})?(-([A-Z]{2}|[0-9]{3}))?")
_COLUMNS = "public_id, display_name, time_zone, locale, quiet_start, quiet_end"
_CLOCK = re.compile(r"([01][0-9]|2[0-3]):[0-5][0-9]")


class QuietHours(Body):
    """When no push notifications come, by the user's own clock; over midnight where *end* is the earlier."""

    start: str = Field(max_length=5, description="HH:MM, 00:00 to 23:59.")
    end: str = Field(max_length=5, description="HH:MM.")


class Profile(Body):
    """The body of a change; what is left out stays."""

    time_zone: str = Field("", max_length=64, description="IANA time zone, for the daily digest at 09:00.")
    locale: str = Field("", max_length=35, description="BCP 47 language tag.")
    quiet_hours: QuietHours | None = Field(
        None, description="No push notifications from then until then; null: any time."
    )


@router.get("/api/v2/me", response_model=openapi.Me, responses=openapi.errors(401), openapi_extra=openapi.SIGNED_IN)
async def get_me(user: User, api: Api) -> Response:
    """The signed-in user."""
    return _answer(await api.db.row(f"SELECT {_COLUMNS} FROM users WHERE public_id = $1", user))


@router.patch(
    "/api/v2/me",
    response_model=openapi.Me,
    responses=openapi.errors(401, 413, 415),
    openapi_extra=openapi.reads(Profile),
)
async def change_me(request: Request, user: User, api: Api) -> Response:
    """Change time zone, locale or quiet hours."""
    body = await read_body(request, Profile)
    if not body.model_fields_set:
        raise invalid("body", "changes nothing", "Send time_zone, locale or quiet_hours")
    if "time_zone" in body.model_fields_set and body.time_zone not in _time_zones():
        raise invalid("time_zone", "is not an IANA time zone", "Send a name such as Europe/Berlin")
    if "locale" in body.model_fields_set and not _LOCALE.fullmatch(body.locale):
        raise invalid("locale", "is not a BCP 47 language tag", "Send a tag such as en or de-AT")
    quiet = _quiet_hours(body.quiet_hours)
    return _answer(
        await api.db.row(
            f"""WITH changed AS (
                    UPDATE users SET time_zone = coalesce(nullif($2, ''), time_zone),
                                     locale = coalesce(nullif($3, ''), locale),
                                     quiet_start = CASE WHEN $4 THEN $5::time ELSE quiet_start END,
                                     quiet_end = CASE WHEN $4 THEN $6::time ELSE quiet_end END
                    WHERE public_id = $1 RETURNING id, {_COLUMNS}),
                -- The next digest is due by the new clock.
                planned_anew AS (
                    UPDATE digest_owners SET due_at = NULL FROM changed WHERE owner_id = changed.id AND $2 <> '')
                SELECT {_COLUMNS} FROM changed""",
            user,
            body.time_zone,
            body.locale,
            "quiet_hours" in body.model_fields_set,
            *quiet,
        )
    )


def _quiet_hours(hours: QuietHours | None) -> tuple[time | None, time | None]:
    if hours is None:
        return None, None
    for name, clock in (("start", hours.start), ("end", hours.end)):
        if not _CLOCK.fullmatch(clock):
            raise invalid(f"quiet_hours.{name}", "is not a time of day", "Send a time such as 22:00")
    return time.fromisoformat(hours.start), time.fromisoformat(hours.end)


@cache
def _time_zones() -> frozenset[str]:
    return frozenset(zoneinfo.available_timezones())


def _answer(row: asyncpg.Record | None) -> Response:
    if row is None:
        raise unauthorized("The authentication token names nobody we know")
    body = {
        "user_id": row["public_id"],
        "display_name": row["display_name"],
        "time_zone": row["time_zone"],
        "locale": row["locale"],
        "quiet_hours": None
        if row["quiet_start"] is None
        else {"start": f"{row['quiet_start']:%H:%M}", "end": f"{row['quiet_end']:%H:%M}"},
    }
    return Response(orjson.dumps(body), media_type=JSON, headers={"Cache-Control": "private, no-store"})
