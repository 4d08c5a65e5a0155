"""``/dashboard``: the page of figures, for people with the role of an analyst."""

from __future__ import annotations

from fastapi import APIRouter, Request
from starlette.responses import Response

from api.errors import HTML, ApiError, ServiceUnavailable, unauthorized
from api.services import Api, Services
from clients.faults import Unavailable
from clients.objects import DASHBOARD

router = APIRouter(include_in_schema=False)

ROLE = "analyst"
# Where a browser that follows a link keeps the token that it cannot send as a header.
COOKIE = "access_token"
_HEADERS = {
    "Cache-Control": "private, no-store",
    # The page brings everything along: whatever else it would load is not ours.
    "Content-Security-Policy": "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; "
    "font-src data:; frame-ancestors 'none'",
    "Referrer-Policy": "no-referrer",
}


@router.get("/dashboard")
async def dashboard(request: Request, api: Api) -> Response:
    """The page as it was made last, at most an hour ago."""
    user = await _user(request, api)
    if not await api.db.value("SELECT $2 = ANY(roles) FROM users WHERE public_id = $1", user, ROLE):
        raise ApiError(403, "FORBIDDEN", f"The dashboard is for people with the role {ROLE!r}")
    try:
        page = await api.store.get(DASHBOARD)
    except Unavailable as error:
        raise ServiceUnavailable("The dashboard cannot be read at the moment. Try again shortly.") from error
    if page is None:
        raise ServiceUnavailable(
            "The dashboard has not been made yet. It is made when the system starts, and every hour."
        )
    return Response(page, media_type=HTML, headers=_HEADERS)


async def _user(request: Request, api: Services) -> str:
    token = request.cookies.get(COOKIE)
    user = await api.authenticator.user_of(request)
    if user is None and token:
        user = await api.authenticator.subject_of(token[:8_192])
    if user is None:
        raise unauthorized(f"Sign in: send Authorization: Bearer <token>, or the cookie {COOKIE}")
    return user
