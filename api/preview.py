"""``GET /social/{token}/preview.png``: a stable public address in front of the private bucket."""

from __future__ import annotations

from fastapi import APIRouter, Request
from starlette.responses import Response

from api import openapi
from api.services import Api

router = APIRouter()

PATH = "/social/{token}/preview.png"
_DAY = "public, max-age=86400"


@router.get("/social/default/wishlist-share-preview.png", response_class=openapi.Png, responses=openapi.errors())
@router.head("/social/default/wishlist-share-preview.png", include_in_schema=False)
async def generic_picture(api: Api) -> Response:
    """The picture of every share that has none of its own."""
    return openapi.Png(await api.pictures.generic(), headers={"Cache-Control": _DAY})


@router.get(PATH, response_class=openapi.Png, responses=openapi.errors(429))
@router.head(PATH, include_in_schema=False)
async def picture(token: str, request: Request, api: Api) -> Response:
    """The share's picture, or the generic one after two seconds without. What only stands in is ``no-store``."""
    await api.open_public(token, request, api.preview_limit)
    own = None if api.settings.static_previews else await api.pictures.of(token)
    if own is None:
        return openapi.Png(await api.pictures.generic(), headers={"Cache-Control": "no-store"})
    return openapi.Png(own.png, headers={"Cache-Control": "no-store" if own.passing else _DAY})
