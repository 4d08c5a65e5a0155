"""Messages of Segment's HTTP Tracking API, as they lie in ``wishlist.social.segment``.

The spec's client events ("Segment Analytics Events") and whatever else a Segment library sends. Only what is named here
is kept of a message: names, addresses, e-mails and IPs that clients send along go no further (DESIGN 5).
"""

from __future__ import annotations

import hashlib
import re
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, Literal
from uuid import UUID

import msgspec
from msgspec import Meta

from schemas.countries import known_country
from schemas.event import EventType, ShareEvent
from schemas.ids import share_id_for, uuid7_at

SOURCE = "wishlist-social"
_WORDS = re.compile(r"[A-Za-z0-9]+")
_WEEK_MS = 7 * 86_400_000
_MONDAY_MS = 4 * 86_400_000  # 5 January 1970
_DAY_MS = 86_400_000

Short = Annotated[str, Meta(max_length=256)]
Name = Annotated[str, Meta(max_length=256, pattern="^[^@]*$")]
Token = Annotated[str, Meta(pattern=r"^[0-9A-Za-z]{1,22}\Z")]
Count = Annotated[int, Meta(ge=0, le=1_000_000)]
Type = Literal["track", "identify", "page", "screen", "group", "alias"]
Variant = Literal["control", "variant-a", "variant-b"]
Platform = Literal["web", "mobile"]
Channel = Literal["copy_link", "email", "facebook", "twitter", "whatsapp"]


class Properties(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Properties of the spec's four events; names are Segment's snake case."""

    variant: Variant | None = None
    platform: Platform | None = None
    share_channel: Channel | None = None
    wishlist_item_count: Count | None = None
    share_token: Token | None = None
    item_count: Count | None = None
    referrer: Annotated[str, Meta(max_length=2_048)] | None = None
    user_agent: Annotated[str, Meta(max_length=1_024)] | None = None
    is_authenticated: bool | None = None


class Traits(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What an identify call may say of a person."""

    account_type: Short | None = None
    country: Annotated[str, Meta(pattern=r"^([A-Z]{2})?\Z")] | None = None
    created_at: datetime | None = None
    platform: Platform | None = None


class Library(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What sent the message."""

    name: Short | None = None
    version: Short | None = None


class Context(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, rename="camel"):
    """Where the message was sent from."""

    library: Library = Library()
    user_agent: Annotated[str, Meta(max_length=1_024)] | None = None
    locale: Short | None = None


class SegmentMessage(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, rename="camel"):
    """One record of ``wishlist.social.segment``; times are aware. On the wire its names are Segment's (``messageId``).

    ``owner`` is the key of the person who did it, where the system itself says so: it knows no other name of theirs.
    ``share_owner`` is the key of the person whose share it is about, where the system itself says so.
    """

    message_id: Annotated[str, Meta(min_length=1, max_length=256)]
    type: Type
    timestamp: datetime
    received_at: datetime
    original_timestamp: datetime | None = None
    sent_at: datetime | None = None
    event: Short | None = None
    user_id: Name | None = None
    anonymous_id: Name | None = None
    properties: Properties = Properties()
    traits: Traits = Traits()
    context: Context = Context()
    owner: UUID | None = None
    share_owner: UUID | None = None

    @property
    def event_name(self) -> str | None:
        """The event in snake case, as Segment names its table: ``Share Initiated`` is ``share_initiated``."""
        return None if self.event is None else "_".join(_WORDS.findall(self.event)).lower()

    @property
    def ledger_ids(self) -> tuple[UUID, ...]:
        """The ids under which the ledger knows this message, its own one first.

        The ledger is kept by time, and a message sent twice may have two times, so that the message id is joined with
        the week. One sent within a day of a week's border is known in both weeks.
        """
        at = _ms(self.timestamp)
        weeks = dict.fromkeys((at - _MONDAY_MS + shift) // _WEEK_MS for shift in (0, -_DAY_MS, _DAY_MS))
        seed = hashlib.sha256(self.message_id.encode()).digest()
        return tuple(uuid7_at(week * _WEEK_MS + _MONDAY_MS, seed) for week in weeks)


def encode(message: SegmentMessage) -> bytes:
    """The record's value."""
    return msgspec.json.encode(message)


def decode(value: bytes) -> SegmentMessage:
    """The inverse of :func:`encode`; raises :class:`msgspec.MsgspecError` naming the field."""
    return msgspec.json.decode(value, type=SegmentMessage)


def completed_id(share_token: str) -> str:
    """The message id of the ``share_completed`` of a share, for whoever says it."""
    return f"share_completed-{share_token}"


def clicked_id(page_view_id: UUID) -> str:
    """The message id of the ``share_link_clicked`` of a page view, for whoever says it."""
    return f"share_link_clicked-{page_view_id}"


def said_by(event: ShareEvent) -> SegmentMessage | None:
    """What the system itself says of a share event: None for all but a share's making and a person's view of it."""
    common: dict[str, Any] = {
        "type": "track",
        "timestamp": event.timestamp,
        "received_at": event.timestamp,
        "original_timestamp": event.timestamp,
        "share_owner": event.user_id,
    }
    of_both: dict[str, Any] = {
        "variant": event.variant,
        "platform": event.platform,
        "share_channel": event.share_channel,
        "share_token": event.share_token,
    }
    context = Context(library=Library(name=SOURCE), user_agent=event.user_agent or None)
    if event.event_type is EventType.CREATED:
        return SegmentMessage(
            message_id=completed_id(event.share_token),
            event="share_completed",
            owner=event.user_id,
            properties=_properties(**of_both, item_count=event.item_count),
            context=context,
            **common,
        )
    if event.event_type is EventType.VIEWED and not event.is_bot and event.page_view_id is not None:
        return SegmentMessage(
            message_id=clicked_id(event.page_view_id),
            event="share_link_clicked",
            anonymous_id=event.visitor_hash,
            properties=_properties(
                **of_both,
                referrer=event.referrer,
                user_agent=event.user_agent,
                is_authenticated=event.is_authenticated,
            ),
            context=context,
            **common,
        )
    return None


def _properties(**values: Any) -> Properties:
    """Properties out of an event's, which says "unknown" for what it does not know."""
    return Properties(**{name: None if value == "unknown" else value for name, value in values.items()})


def row_of(message: SegmentMessage, user_id: str | None) -> dict[str, Any]:
    """The message's row in ``segment_messages``."""
    said, traits, context = message.properties, message.traits, message.context
    return {
        "event_date": message.timestamp.astimezone(UTC).date(),
        "event_id": str(message.ledger_ids[0]),
        "id": message.message_id,
        "type": message.type,
        "event": message.event_name,
        "event_text": message.event,
        "user_id": user_id,
        "anonymous_id": message.anonymous_id,
        "timestamp": message.timestamp,
        "original_timestamp": message.original_timestamp,
        "sent_at": message.sent_at,
        "received_at": message.received_at,
        "variant": said.variant,
        "platform": said.platform or traits.platform,
        "share_channel": said.share_channel,
        "share_token": said.share_token,
        "share_id": None if said.share_token is None else str(share_id_for(said.share_token)),
        "wishlist_item_count": said.wishlist_item_count,
        "item_count": said.item_count,
        "referrer": said.referrer,
        "user_agent": said.user_agent,
        "is_authenticated": said.is_authenticated,
        "context_library_name": context.library.name,
        "context_library_version": context.library.version,
        "context_user_agent": context.user_agent,
        "context_locale": context.locale,
        "account_type": traits.account_type,
        "country": traits.country and known_country(traits.country),
        "created_at": traits.created_at,
    }


def corrected(original: datetime, sent: datetime | None, received: datetime) -> datetime:
    """When it happened by our clock (Segment, "Timestamps in Segment"): what the sender's is off shows as it sends."""
    return original if sent is None else received - (sent - original)


def _ms(moment: datetime) -> int:
    return (moment - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(milliseconds=1)
