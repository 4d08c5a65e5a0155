"""Segment's HTTP Tracking API: ``/v1/batch``, ``/v1/track``, ``/v1/identify`` and their kin, for libraries as they are.

analytics.js calls the same by their first letters (``/v1/t``). A message is acknowledged once Kafka has it; while Kafka
is away the answer is 503, after which Segment's libraries send again. Of a batch the good messages are taken even where
others are refused.
"""

from __future__ import annotations

import asyncio
import hmac
import zlib
from base64 import b64decode
from binascii import Error as Base64Error
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, get_args
from urllib.parse import urlsplit
from uuid import uuid4

import msgspec
import orjson
from fastapi import APIRouter, Request
from msgspec import Meta, structs
from starlette.responses import Response

from api.errors import JSON, ApiError, ServiceUnavailable
from api.services import Api, Services
from clients.faults import Unavailable
from schemas.segment import (
    Channel,
    Context,
    Name,
    Platform,
    Properties,
    SegmentMessage,
    Short,
    Traits,
    Type,
    Variant,
    corrected,
    encode,
)

router = APIRouter(include_in_schema=False)

# Segment's own limits ("HTTP Tracking API source", "Batch").
MAX_BATCH_BYTES = 500 * 1024
MAX_MESSAGE_BYTES = 32 * 1024
# A phone may be off for long. What is older or comes from the future is a wrong clock, for which no day would be right.
_OLDEST, _NEWEST = timedelta(days=366), timedelta(days=1)
_CALLS: dict[str, Type] = {
    name: kind
    for kind in ("track", "identify", "page", "screen", "group", "alias")
    for name in (kind, kind[0])
}  # fmt: skip
_NAMES = {"userId", "anonymousId"}
_REMEDIES = {
    **dict.fromkeys(_NAMES, "Send an id of up to 256 characters that tells nobody outside who it is"),
    "type": f"Send one of {', '.join(get_args(Type))}",
    "properties.variant": f"Send one of {', '.join(get_args(Variant))}",
    "properties.platform": f"Send one of {', '.join(get_args(Platform))}",
    "traits.platform": f"Send one of {', '.join(get_args(Platform))}",
    "properties.share_channel": f"Send one of {', '.join(get_args(Channel))}",
    "properties.share_token": "Send the token of the share's link, up to 22 letters and digits",
    **dict.fromkeys(("timestamp", "originalTimestamp", "sentAt"), "Send an ISO 8601 time"),
}
_MAY = {
    "Access-Control-Allow-Methods": "POST, OPTIONS",
    "Access-Control-Allow-Headers": "Authorization, Content-Type, Content-Encoding",
    "Access-Control-Max-Age": "86400",
}


class Incoming(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """A message as it is sent; what is not named here is not kept."""

    type: Type
    message_id: Annotated[str, Meta(max_length=256)] | None = None
    timestamp: datetime | None = None
    original_timestamp: datetime | None = None
    sent_at: datetime | None = None
    event: Short | None = None
    user_id: Name | None = None
    anonymous_id: Name | None = None
    properties: Properties | None = None
    traits: Traits | None = None
    context: Context | None = None


class Refused(ValueError):
    """A message cannot be taken; the field, and why."""

    def __init__(self, field: str, problem: str, remedy: str) -> None:
        super().__init__(f"{field} {problem}")
        self.detail = {"field": field, "problem": problem, "remedy": remedy}


@router.get("/v1/projects/{write_key}/settings")
async def settings(write_key: str, api: Api) -> Response:
    """What analytics.js asks its CDN for before it sends: that messages come to us, and to nobody else."""
    if write_key not in api.segment_keys:
        raise ApiError(404, "NOT_FOUND", "There is no project with this write key")
    scheme, _, host = (api.settings.origin or api.settings.public_url).rstrip("/").partition("://")
    destination = {"apiKey": write_key, "apiHost": f"{host}/v1", "protocol": scheme}
    return Response(orjson.dumps({"integrations": {"Segment.io": destination}, "plan": {}}), media_type=JSON)


@router.options("/v1/{call:path}")
async def may_send(call: str) -> Response:
    """Pages of any site may send: the write key says whose messages they are."""
    return Response(status_code=204, headers=_MAY)


@router.post("/v1/batch")
@router.post("/v1/import")
@router.post("/v1/b")
async def take_batch(request: Request, api: Api) -> Response:
    """Take several messages."""
    body = await _read(request)
    _check_key(request, body, api)
    batch = body.get("batch")
    if not isinstance(batch, list):
        raise _bad("batch", "is not a list", "Send the messages as a list named batch")
    return await _take(api, batch, body.get("sentAt"))


@router.post("/v1/{call}")
async def take_one(call: str, request: Request, api: Api) -> Response:
    """Take one message."""
    if call not in _CALLS:
        raise ApiError(
            404, "NOT_FOUND", f"There is no call {call[:32]!r}. There are {', '.join(sorted(_CALLS))}, batch."
        )
    body = await _read(request)
    _check_key(request, body, api)
    return await _take(api, [{**body, "type": _CALLS[call]}], body.get("sentAt"))


async def _take(api: Services, batch: list[Any], sent_at: Any) -> Response:
    received = datetime.now(UTC)
    messages, details = [], []
    for index, raw in enumerate(batch):
        try:
            messages.append(_message(raw, sent_at, received))
        except Refused as refused:
            details.append({**refused.detail, "field": f"batch[{index}].{refused.detail['field']}"})
    sends = (api.producer.send_message(m.user_id or m.anonymous_id or m.message_id, encode(m)) for m in messages)
    try:
        await asyncio.gather(*sends)
    except Unavailable as error:
        raise ServiceUnavailable("Messages cannot be taken at the moment. Send them again shortly.") from error
    if details:
        first = details[0]
        words = f"{first['field']}: {first['problem']}. {first['remedy']}"
        counts = {"accepted": len(messages), "refused": len(details)}
        raise ApiError(400, "VALIDATION_ERROR", words, extra={**counts, "details": details[:50]})
    return Response(b'{"success":true}', media_type=JSON)


def _message(raw: Any, sent_at: Any, received: datetime) -> SegmentMessage:
    """The message that *raw* is; raises :class:`Refused`."""
    if not isinstance(raw, dict):
        raise Refused("message", "is not an object", "Send an object with type, and event or traits")
    if len(orjson.dumps(raw)) > MAX_MESSAGE_BYTES:
        raise Refused("message", f"is larger than {MAX_MESSAGE_BYTES // 1024} KB", "Send fewer properties")
    try:
        given = msgspec.convert({"sentAt": sent_at, **raw}, Incoming)
    except msgspec.ValidationError as error:
        problem, _, path = str(error).partition(" - at `$.")
        field = path.rstrip("`") or "message"
        if field in _NAMES:
            problem = "is no id, or looks like an e-mail address"
        raise Refused(field, problem, _REMEDIES.get(field, "See docs/analytics.md for what each field holds")) from None
    if given.type == "track" and not given.event:
        raise Refused("event", "is missing", "Name the event, for example share_initiated")
    if not given.user_id and not given.anonymous_id:
        raise Refused("userId", "is missing", "Send userId or anonymousId")
    original = _aware(given.original_timestamp or given.timestamp) or received
    sent = _aware(given.sent_at)
    at = corrected(original, sent, received)
    if not received - _OLDEST <= at <= received + _NEWEST:
        raise Refused("timestamp", f"lies more than {_OLDEST.days} days back or a day ahead", "Set the sender's clock")
    properties = given.properties or Properties()
    traits = given.traits or Traits()
    return SegmentMessage(
        message_id=given.message_id or str(uuid4()),
        type=given.type,
        event=given.event,
        user_id=given.user_id,
        anonymous_id=given.anonymous_id,
        timestamp=at,
        original_timestamp=original,
        sent_at=sent,
        received_at=received,
        properties=structs.replace(properties, referrer=_site(properties.referrer)),
        traits=structs.replace(traits, created_at=_aware(traits.created_at)),
        context=given.context or Context(),
    )


def _aware(moment: datetime | None) -> datetime | None:
    return moment if moment is None or moment.tzinfo else moment.replace(tzinfo=UTC)


def _site(referrer: str | None) -> str | None:
    """The referring site; paths may name people."""
    if not referrer:
        return referrer
    try:
        parts = urlsplit(referrer)
    except ValueError:
        return ""
    return f"{parts.scheme}://{parts.hostname}" if parts.scheme and parts.hostname else ""


def _check_key(request: Request, body: Mapping[str, Any], api: Services) -> None:
    """The write key is the user name of HTTP Basic, or ``writeKey`` of the body; raises 401."""
    given = body.get("writeKey")
    scheme, _, words = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() == "basic":
        try:
            given = b64decode(words, validate=True).decode().partition(":")[0]
        except (Base64Error, UnicodeDecodeError):
            given = None
    known = isinstance(given, str) and any(
        hmac.compare_digest(given.encode(errors="replace"), key.encode()) for key in api.segment_keys
    )
    if not known:
        realm = {"WWW-Authenticate": 'Basic realm="segment"'}
        message = "The write key is missing or not known. Send it as the user name of HTTP Basic, or as writeKey."
        raise ApiError(401, "UNAUTHORIZED", message, headers=realm)


async def _read(request: Request) -> dict[str, Any]:
    raw = bytearray()
    async for part in request.stream():
        raw += part
        if len(raw) > MAX_BATCH_BYTES:
            raise _too_large()
    content = bytes(raw)
    if request.headers.get("content-encoding", "").lower() == "gzip":
        content = _unzipped(content)
    try:
        body = orjson.loads(content)
    except orjson.JSONDecodeError as error:
        raise _bad("body", f"is not JSON ({error.msg})", "Send a JSON object in UTF-8") from None
    if not isinstance(body, dict):
        raise _bad("body", "is not a JSON object", "Send an object with named fields")
    return body


def _unzipped(content: bytes) -> bytes:
    unzip = zlib.decompressobj(wbits=31)
    try:
        plain = unzip.decompress(content, MAX_BATCH_BYTES + 1)
    except zlib.error:
        raise _bad(
            "body", "is not gzip", "Compress the body as Content-Encoding says, or leave the header out"
        ) from None
    if len(plain) > MAX_BATCH_BYTES:
        raise _too_large()
    return plain


def _too_large() -> ApiError:
    message = f"The body is larger than {MAX_BATCH_BYTES // 1024} KB. Send the messages in several batches."
    return ApiError(413, "PAYLOAD_TOO_LARGE", message)


def _bad(field: str, problem: str, remedy: str) -> ApiError:
    detail = {"field": field, "problem": problem, "remedy": remedy}
    return ApiError(400, "VALIDATION_ERROR", f"{field}: {problem}. {remedy}", extra={"details": [detail]})
