"""What the OpenAPI document says of answers, so that what a route declares is one line.

Routes build their answers themselves; the models here document those answers, and a test holds the two together.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, Field
from starlette.responses import Response

from api.bodies import Body

SIGNED_IN: dict[str, Any] = {"security": [{"bearer": []}]}
BEARER: dict[str, Any] = {"bearer": {"type": "http", "scheme": "bearer", "bearerFormat": "JWT"}}

WRITE_KEY: dict[str, Any] = {
    "writeKey": {
        "type": "http",
        "scheme": "basic",
        "description": "User name: the write key. It may be in the body too.",
    }
}

# What generators of clients make types of.
Moment = Annotated[str, Field(json_schema_extra={"format": "date-time"})]
Link = Annotated[str, Field(json_schema_extra={"format": "uri"})]
ChannelName = Literal["link", "email", "facebook", "twitter", "whatsapp", "copy_link", "unknown"]
_MOMENT = {"type": "string", "format": "date-time"}

ERROR: dict[str, Any] = {
    "type": "object",
    "title": "Error",
    "description": "What is wrong, and what to do about it.",
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
        "accepted": {"type": "integer", "minimum": 0, "description": "Of a batch of Segment's interface."},
        "refused": {"type": "integer", "minimum": 0, "description": "The rest; details name the first 50."},
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
    is_json = media_type == "application/json"
    schema = {"$ref": "#/components/schemas/Error"} if is_json else {"type": "string"}
    return {
        status: {"description": _MEANINGS[status], "content": {media_type: {"schema": schema}}}
        for status in sorted({*statuses, 400, 404, 422, 503})
    }


def reads(model: type[Body], *, signed_in: bool = True) -> dict[str, Any]:
    """``openapi_extra`` of a route that reads *model* from its body."""
    name = _add_body(model)
    schema = {"$ref": f"#/components/schemas/{name}"}
    extra: dict[str, Any] = {"requestBody": {"required": True, "content": {"application/json": {"schema": schema}}}}
    return {**extra, **SIGNED_IN} if signed_in else extra


_bodies: dict[str, Any] = {}


def bodies() -> dict[str, Any]:
    """The schemas of what routes read, by name. Answers have names of their own: some are called like a body."""
    return dict(_bodies)


def _add_body(model: type[Body]) -> str:
    schema = model.model_json_schema(ref_template="#/components/schemas/{model}Body")
    for name, inner in {**schema.pop("$defs", {}), model.__name__: schema}.items():
        # Generators call classes by the title.
        titled = {**inner, "title": f"{name}Body", "properties": _without_defaults(inner["properties"])}
        assert _bodies.setdefault(f"{name}Body", titled) == titled, f"two bodies are called {name}"
    return f"{model.__name__}Body"


def _without_defaults(properties: dict[str, Any]) -> dict[str, Any]:
    """Generators take a field with a default for one that is always there; the words name it instead."""
    found = {}
    for name, schema in properties.items():
        kept = {key: value for key, value in schema.items() if key != "default"}
        if schema.get("default"):
            kept["description"] = f"{schema.get('description', '')} Default: {schema['default']}.".strip()
        found[name] = kept
    return found


IDEMPOTENCY_KEY: dict[str, Any] = {
    "name": "Idempotency-Key",
    "in": "header",
    "required": False,
    "description": "A name for this act, a UUID for example: sent again with it, the request gets the first answer.",
    "schema": {"type": "string", "minLength": 1, "maxLength": 255, "pattern": "^[!-~]{1,255}$"},
}
HEADERS: dict[str, Any] = {
    "X-RateLimit-Limit": {"description": "Requests in a window.", "schema": {"type": "integer"}},
    "X-RateLimit-Remaining": {"description": "How many are left.", "schema": {"type": "integer"}},
    "X-RateLimit-Reset": {"description": "Unix time at which the window is free again.", "schema": {"type": "integer"}},
    "Retry-After": {"description": "Seconds until the next try.", "schema": {"type": "integer", "minimum": 1}},
}

_FREE = {"type": "object", "additionalProperties": True}
SEGMENT_TAKEN: dict[str, Any] = {
    "type": "object",
    "required": ["success"],
    "properties": {"success": {"type": "boolean"}},
}
SEGMENT_SCHEMAS: dict[str, Any] = {
    "SegmentMessage": {
        "title": "SegmentMessage",
        "description": "A message of Segment's HTTP tracking API. docs/analytics.md says what is kept of it.",
        "type": "object",
        "properties": {
            "type": {"type": "string", "enum": ["track", "page", "screen", "identify", "group", "alias"]},
            "messageId": {"type": "string", "description": "Sent again under the same id, it counts once."},
            "userId": {"type": ["string", "null"]},
            "anonymousId": {"type": ["string", "null"]},
            "event": {"type": ["string", "null"], "description": "The name of what is tracked."},
            "timestamp": _MOMENT,
            "sentAt": _MOMENT,
            "properties": _FREE,
            "traits": _FREE,
            "context": _FREE,
            "writeKey": {"type": "string"},
        },
        "additionalProperties": True,
    },
    "SegmentBatch": {
        "title": "SegmentBatch",
        "type": "object",
        "required": ["batch"],
        "properties": {
            "batch": {"type": "array", "items": {"$ref": "#/components/schemas/SegmentMessage"}},
            "sentAt": _MOMENT,
            "writeKey": {"type": "string"},
        },
        "additionalProperties": True,
    },
}

_CALLS = ("track", "page", "screen", "identify", "group", "alias")


def segment_paths() -> dict[str, Any]:
    """Segment's interface. Its libraries send what they like; the routes read that as it comes."""
    call = {"name": "call", "in": "path", "required": True, "schema": {"type": "string", "enum": list(_CALLS)}}
    return {
        "/v1/batch": {"post": _segment_post("send_messages", "Several messages.", "SegmentBatch")},
        "/v1/{call}": {
            "post": {**_segment_post("send_message", "One message.", "SegmentMessage"), "parameters": [call]}
        },
    }


def _segment_post(name: str, words: str, schema: str) -> dict[str, Any]:
    body = {"application/json": {"schema": {"$ref": f"#/components/schemas/{schema}"}}}
    taken = {"description": "All of it is taken", "content": {"application/json": {"schema": SEGMENT_TAKEN}}}
    return {
        "operationId": name,
        "summary": words,
        "security": [{"writeKey": []}],
        "requestBody": {"required": True, "content": body},
        "responses": {"200": taken, **{str(status): one for status, one in errors(401, 413).items()}},
    }


_WEBHOOK_TYPES = {
    "share.created": "A share is made.",
    "share.viewed": "A person looks at it.",
    "share.item_added": "Somebody else adds an item of it to their list.",
    "share.settings_changed": "An item is hidden or shown, or expiry or snapshot change.",
    "share.revoked": "It is revoked.",
    "share.expired": "It has expired.",
}
_OR_NULL = {"type": ["string", "null"]}
WEBHOOK_SCHEMAS: dict[str, Any] = {
    "WebhookEvent": {
        "title": "WebhookEvent",
        "description": "A call of a webhook, by the Standard Webhooks specification; see docs/webhooks.md.",
        "type": "object",
        "required": ["type", "timestamp", "data"],
        "properties": {
            "type": {"type": "string", "enum": list(_WEBHOOK_TYPES)},
            "timestamp": _MOMENT,
            "data": {"$ref": "#/components/schemas/WebhookData"},
        },
    },
    "WebhookData": {
        "title": "WebhookData",
        "description": "Each type has some of these. Ignore what you do not know: there will be more.",
        "type": "object",
        "required": ["event_id", "share_token", "wishlist_id", "channel"],
        "properties": {
            "event_id": {"type": "string", "format": "uuid"},
            "share_token": {"type": "string"},
            "wishlist_id": {"type": "string"},
            "channel": {"type": "string"},
            "country": {**_OR_NULL, "description": "ISO 3166-1 alpha-2."},
            "platform": {"type": "string", "enum": ["web", "mobile", "unknown"]},
            "product_id": _OR_NULL,
            "item_id": _OR_NULL,
            "item_visible": {"type": ["boolean", "null"]},
            "item_count": {"type": "integer"},
            "expires_at": {**_OR_NULL, "format": "date-time"},
            "snapshot": {"type": ["boolean", "null"]},
        },
        "additionalProperties": True,
    },
}


def webhooks() -> dict[str, Any]:
    """What we call, by its type."""
    headers = [
        {"name": name, "in": "header", "required": True, "description": words, "schema": {"type": "string"}}
        for name, words in (
            ("webhook-id", "The same however often an event is sent."),
            ("webhook-timestamp", "When it was sent, in Unix seconds."),
            ("webhook-signature", "By which you know that it comes from us."),
        )
    ]
    schema = {"$ref": "#/components/schemas/WebhookEvent"}
    return {
        name: {
            "post": {
                "operationId": name.replace(".", "_"),
                "summary": words,
                "parameters": headers,
                "requestBody": {"required": True, "content": {"application/json": {"schema": schema}}},
                "responses": {"204": {"description": "Taken. Anything but 2xx has the event sent again."}},
            }
        }
        for name, words in _WEBHOOK_TYPES.items()
    }


class Png(Response):
    """A picture."""

    media_type = "image/png"


class Answer(BaseModel):
    """An answer as documented."""


class ShareCreated(Answer):
    """A new share (spec, "API Documentation")."""

    share_url: Link
    share_token: str = Field(min_length=22, max_length=22)
    preview_image_url: Link
    expires_at: Moment | None
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
    created_at: Moment
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
    added_at: Moment
    wishlist_id: str


class MyItems(Answer):
    """The reader's own items, newest first."""

    items: list[ItemAdded]


class ShareState(Answer):
    """A share as its owner sees it."""

    share_token: str
    share_url: Link
    preview_image_url: Link
    share_id: str
    channel: ChannelName
    status: Literal["active", "expired", "revoked"]
    created_at: Moment
    expires_at: Moment | None
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
    created_at: Moment
    last_viewed_at: Moment | None


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
    platform: Literal["ios", "android"]


class Webhook(Answer):
    """Where a user is called, and how it does."""

    url: str
    state: Literal["active", "paused", "disabled"]
    paused_until: Moment | None
    disabled_at: Moment | None
    reason: str | None = Field(description="Of the last failure, until a call succeeds.")
    failures_in_a_row: int
    last_success_at: Moment | None


class WebhookSet(Webhook):
    """The same, with the secret where it is new."""

    secret: str = Field("", description="whsec_ and base64, for libraries of the Standard Webhooks specification.")


class Health(Answer):
    """How the process is."""

    status: str
    postgres: str = ""
    redis: str = ""
