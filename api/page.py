"""``GET /wishlists/shared/{token}``: the shared list as a page, the same for everyone."""

from __future__ import annotations

import re
from dataclasses import replace
from functools import lru_cache
from typing import Any

import orjson
from fastapi import APIRouter, Request
from starlette.responses import HTMLResponse, RedirectResponse, Response

from api import openapi
from api.errors import HTML, PAGE_PREFIX, ShareNotFound
from api.lookup import count_view
from api.reads import Opened
from api.services import Api, Services
from api.shares_model import SharedList
from api.templates import PAGE_HEADERS, render
from api.visitors import is_bot, visitor_of
from schemas.ids import TOKEN_LENGTH, uuid7

router = APIRouter()

PATH = "/wishlists/shared/{token}"
_HEADERS = {"Cache-Control": "public, max-age=300", **PAGE_HEADERS}
_REDIRECT_HEADERS = {"Cache-Control": "public, max-age=300", "X-Robots-Tag": "noindex"}
_LONGEST_LINK = 256
_DECORATED = re.compile(rf"[^0-9A-Za-z]*([0-9A-Za-z]{{{TOKEN_LENGTH}}})(?:[^0-9A-Za-z].*)?", re.DOTALL)
# Some 15 KB each.
_PAGES_KEPT = 1_000
_SYMBOLS = {"USD": "$", "EUR": "€", "GBP": "£", "JPY": "¥", "CAD": "CA$", "AUD": "A$"}


@router.get(PATH, response_class=HTMLResponse, responses=openapi.errors(429, media_type="text/html"))
@router.head(PATH, include_in_schema=False)
async def show_page(token: str, request: Request, api: Api) -> Response:
    """The page. A person's view is counted by its beacon; a program's fetch is recorded here, as a program's."""
    if len(token) != TOKEN_LENGTH and (canonical := canonical_token(token)):
        return _redirect(canonical, request)
    # Caches may keep it for five minutes anyway.
    opened = await api.open_public(token, request, api.lookup_limit, recent=True)
    if request.method == "HEAD" or is_bot(visitor_of(request, api.settings).user_agent):
        count_view(api, request, opened, None, uuid7(), is_bot=True)
    return Response(await _page(api, opened), media_type=HTML, headers=_HEADERS)


@router.get(f"{PAGE_PREFIX}{{link:path}}", include_in_schema=False)
@router.head(f"{PAGE_PREFIX}{{link:path}}", include_in_schema=False)
async def show_page_of_link(link: str, request: Request) -> Response:
    """A link with a slash after it, or with what stood behind it in a text."""
    canonical = canonical_token(link)
    if canonical is None:
        raise ShareNotFound
    return _redirect(canonical, request)


def canonical_token(link: str) -> str | None:
    """The token that mail programs and chats made *link* of, by taking marks around it into the link; None for others.

    Whether there is such a share does not matter here, so the answer tells nothing about it.
    """
    found = _DECORATED.fullmatch(link[:_LONGEST_LINK])
    return found[1] if found else None


def _redirect(token: str, request: Request) -> Response:
    query = f"?{request.url.query}" if request.url.query else ""
    return RedirectResponse(f"{PAGE_PREFIX}{token}{query}", 301, headers=_REDIRECT_HEADERS)


async def _page(api: Services, opened: Opened) -> bytes:
    share, shown = opened.share, opened.shown
    return _written(
        share.token,
        replace(shown, view_count=0),
        await api.messages.open(share.owner_id, share.message),
        api.share_url(share.token),
        await api.give_picture(share.token, shown.picture_hash),
        api.settings.public_url,
    )


@lru_cache(maxsize=_PAGES_KEPT)
def _written(
    token: str, shown: SharedList, message: str | None, page_url: str, picture_url: str, shop_url: str
) -> bytes:
    """The page. It says nothing but its arguments, so it is written once for the same ones."""
    items: list[dict[str, Any]] = orjson.loads(shown.items)
    return render(
        "shared_list.html",
        token=token,
        title=shown.title,
        owner=shown.owner_display_name,
        message=message,
        items=[{**item, "price_text": money(item["price"], item["currency"])} for item in items],
        item_count=shown.item_count,
        total=money(orjson.loads(shown.total), shown.currency) if shown.currency else None,
        page_url=page_url,
        picture_url=picture_url,
        shop_url=shop_url,
    )


def money(amount: float, currency: str) -> str:
    """An amount as people write it, two decimals: ``$1,577.47``; an unknown currency keeps its code."""
    symbol = _SYMBOLS.get(currency)
    return f"{symbol}{amount:,.2f}" if symbol else f"{amount:,.2f} {currency}"
