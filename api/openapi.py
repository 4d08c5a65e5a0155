"""What the OpenAPI document says of answers, so that what a route declares is one line.

Routes build their answers themselves; the models here document those answers, and a test holds the two together.
"""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, Field
from starlette.responses import Response

from api.bodies import Body

SIGNED_IN: dict[str, Any] = {"security": [{"bearer": []}]}
BEARER: dict[str, Any] = {"bearer": {"type": "http", "scheme": "bearer", "bearerFormat": "JWT"}}

_ERROR: dict[str, Any] = {
    "type": "object",
    "required": ["error", "message"],
    "properties": {
        "error": {"type": "string"},
        "message": {"type": "string"},
        "request_id": {"type": "string"},
        "retry_after_seconds": {"type": "integer", "minimum": 1},
        "details": {
            "type": "array",
            "items": {"type": "object", "additionalProperties": {"type": "string"}},
        },
    },
    "additionalProperties": False,
}
_MEANINGS = {
    400: "The URL cannot be read",
    401: "Missing or invalid authentication token",
    403: "Not the owner, or not available to this user",
    404: "There is no such thing, or none that the caller may see",
    409: "The share is revoked or has expired",
    413: "The body is too large",
    415: "The body is not JSON",
    422: "The request is not valid; each bad field is named with the remedy",
    429: "Too many requests; Retry-After says when to come back",
    503: "A part that this request needs is away",
}


def errors(*statuses: int, media_type: str = "application/json") -> dict[int | str, dict[str, Any]]:
    """``responses`` of a route: these errors, and those that any route may give."""
    schema: dict[str, Any] = _ERROR if media_type == "application/json" else {"type": "string"}
    return {
        status: {"description": _MEANINGS[status], "content": {media_type: {"schema": schema}}}
        for status in sorted({*statuses, 400, 404, 422, 503})
    }


def reads(model: type[Body], *, signed_in: bool = True) -> dict[str, Any]:
    """``openapi_extra`` of a route that reads *model* from its body."""
    schema = model.model_json_schema()
    extra: dict[str, Any] = {"requestBody": {"required": True, "content": {"application/json": {"schema": schema}}}}
    return {**extra, **SIGNED_IN} if signed_in else extra


class Png(Response):
    """A picture."""

    media_type = "image/png"


class Answer(BaseModel):
    """An answer as documented."""


class ShareCreated(Answer):
    """A new share (spec, "API Documentation")."""

    share_url: str
    share_token: str = Field(min_length=22, max_length=22)
    preview_image_url: str
    expires_at: str | None
    item_count: int = Field(ge=0, description="Visible items.")
    hidden_items_count: int = Field(ge=0)
    share_id: str


class SharedItem(Answer):
    """One item of a shared list, with today's price and stock."""

    product_id: str
    name: str
    price: float = Field(ge=0)
    currency: str
    image_url: str | None
    in_stock: bool


class SharedWishlist(Answer):
    """A shared list as its readers see it."""

    title: str
    owner_display_name: str
    item_count: int
    items: list[SharedItem]
    total_value: float | None = Field(description="Null where items have different currencies.")
    currency: str | None
    created_at: str
    message: str | None
    share_view_count: int = Field(0, description="For the owner only.")


class LookUp(Answer):
    """The answer to a look-up."""

    wishlist: SharedWishlist
    can_add_to_own_list: bool
    is_authenticated: bool


class ItemAdded(Answer):
    """A copied item."""

    wishlist_item_id: str
    product_id: str
    added_at: str
    wishlist_id: str


class MyItems(Answer):
    """The reader's own items, newest first."""

    items: list[ItemAdded]


class ShareState(Answer):
    """A share as its owner sees it."""

    share_token: str
    share_url: str
    preview_image_url: str
    share_id: str
    channel: str
    status: str
    created_at: str
    expires_at: str | None
    message: str | None
    hidden_items: list[str]
    snapshot: bool
    view_count: int
    items_added: int


class ShareList(Answer):
    """Every share of a list."""

    shares: list[ShareState]


class Figures(Answer):
    """A share's figures."""

    share_id: str
    view_count: int
    raw_view_count: int
    unique_viewers: int
    items_added: int
    conversion_rate: float
    created_at: str
    last_viewed_at: str | None


class Visibility(Answer):
    """Whether readers see an item."""

    item_id: str
    visible: bool


class QuietHours(Answer):
    """When no push notifications come: HH:MM, by the user's own clock."""

    start: str
    end: str


class Me(Answer):
    """The signed-in user."""

    user_id: str
    display_name: str
    time_zone: str
    locale: str
    quiet_hours: QuietHours | None


class Ways(Answer):
    """By which ways a category's notifications come."""

    digest: bool
    push: bool


class Preferences(Answer):
    """What a user hears of."""

    social: Ways
    orders: Ways


class Device(Answer):
    """A device that gets push notifications."""

    device_id: str
    platform: str


class Webhook(Answer):
    """Where a user is called, and how it does."""

    url: str
    state: Literal["active", "paused", "disabled"]
    paused_until: str | None
    disabled_at: str | None
    reason: str | None = Field(description="Of the last failure, until a call succeeds.")
    failures_in_a_row: int
    last_success_at: str | None


class WebhookSet(Webhook):
    """The same, with the secret where it is new."""

    secret: str = Field("", description="whsec_ and base64, for libraries of the Standard Webhooks specification.")


class Health(Answer):
    """How the process is."""

    status: str
    postgres: str = ""
    redis: str = ""
