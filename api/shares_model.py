"""A share, and the list that it shows, as the API passes them around."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import orjson

from schemas.event import Channel, ShareEvent


def iso(moment: datetime | None) -> str | None:
    """ISO 8601 in UTC to the second, as in the spec's traces."""
    return None if moment is None else moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


@dataclass(frozen=True, slots=True, kw_only=True)
class Share:
    """What is kept in Redis under ``share:{token}``: enough to open the link before PostgreSQL has the row.

    *changed_by*: the event of its owner's last change, by which whoever remembers the share knows that it has changed.
    """

    share_id: UUID
    token: str
    wishlist_id: UUID
    owner_id: UUID
    channel: Channel
    expires_at: datetime | None
    hidden_item_ids: tuple[UUID, ...]
    message: str | None
    created_at: datetime
    variant: str | None = None
    changed_by: UUID | None = None

    @classmethod
    def of(cls, event: ShareEvent) -> Share:
        """The share that a ``share_created`` event makes."""
        return cls(
            share_id=event.share_id,
            token=event.share_token,
            wishlist_id=event.wishlist_id,
            owner_id=event.user_id,
            channel=event.share_channel,
            expires_at=event.expires_at,
            hidden_item_ids=event.hidden_item_ids,
            message=event.message,
            created_at=event.timestamp,
            variant=event.variant,
        )

    def is_open(self, now: datetime) -> bool:
        """Whether the share has not expired at *now*."""
        return self.expires_at is None or now < self.expires_at

    def to_json(self) -> bytes:
        """The cache's form."""
        return orjson.dumps(
            {
                # As text: asyncpg's UUID is a subclass, which orjson does not know.
                "share_id": str(self.share_id),
                "token": self.token,
                "wishlist_id": str(self.wishlist_id),
                "owner_id": str(self.owner_id),
                "channel": str(self.channel),
                "expires_at": self.expires_at,
                "hidden_item_ids": [str(item) for item in self.hidden_item_ids],
                "message": self.message,
                "created_at": self.created_at,
                "variant": self.variant,
                "changed_by": self.changed_by and str(self.changed_by),
            }
        )

    @classmethod
    def from_json(cls, raw: bytes) -> Share:
        """The inverse of :meth:`to_json`; raises :class:`ValueError` or :class:`KeyError` for anything else."""
        value: dict[str, Any] = orjson.loads(raw)
        expires_at, changed_by = value["expires_at"], value.get("changed_by")
        return cls(
            share_id=UUID(value["share_id"]),
            token=value["token"],
            wishlist_id=UUID(value["wishlist_id"]),
            owner_id=UUID(value["owner_id"]),
            channel=Channel(value["channel"]),
            expires_at=datetime.fromisoformat(expires_at) if expires_at else None,
            hidden_item_ids=tuple(UUID(item) for item in value["hidden_item_ids"]),
            message=value["message"],
            created_at=datetime.fromisoformat(value["created_at"]),
            variant=value.get("variant"),
            changed_by=UUID(changed_by) if changed_by else None,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class SharedList:
    """What a reader sees: the list now, without hidden items. ``items`` and ``total`` are JSON text.

    PostgreSQL writes the items' JSON, so that prices keep their two decimals and nobody parses them to send them on.
    """

    title: str
    owner_display_name: str
    owner_public_id: str
    listed_at: datetime
    items: str
    item_count: int
    total: str
    currency: str | None
    view_count: int = 0
    picture_hash: str | None = None

    def to_json(self) -> bytes:
        """The cache's form."""
        return orjson.dumps(self)

    @classmethod
    def from_json(cls, raw: bytes) -> SharedList:
        """The inverse of :meth:`to_json`."""
        value = orjson.loads(raw)
        return cls(**{**value, "listed_at": datetime.fromisoformat(value["listed_at"])})
