"""Whose list it is: the checks before anything is done with a wishlist or its shares."""

from __future__ import annotations

import re
from dataclasses import dataclass
from uuid import UUID

import asyncpg

from api.database import Database
from api.errors import ApiError
from api.reads import ShareReader
from api.shares_model import Share
from schemas.event import Channel

_PUBLIC_ID = re.compile(r"[A-Za-z0-9_-]{1,64}")

_OWNED_SHARE = """
SELECT w.id AS wishlist_id, u.id AS owner_id, u.public_id AS owner, s.id AS share_id, s.share_channel, s.expires_at,
       s.message, s.created_at, s.variant, s.is_revoked, s.expired_at, s.snapshot_items,
       EXISTS (SELECT FROM event_outbox o WHERE o.share_token = $2) AS has_unsent,
       ARRAY(SELECT v.item_id FROM share_item_visibility v WHERE v.share_id = s.id AND NOT v.visible) AS hidden
FROM wishlists w
JOIN users u ON u.id = w.owner_id
LEFT JOIN wishlist_shares s ON s.wishlist_id = w.id AND s.share_token = $2
WHERE w.public_id = $1
"""


class ShareClosed(ApiError):
    """Revoked and expired are final: nothing can be changed any more."""

    def __init__(self, wishlist_id: UUID) -> None:
        self.wishlist_id = wishlist_id
        super().__init__(409, "SHARE_CLOSED", "This share is revoked or has expired. Create a new one.")


@dataclass(frozen=True, slots=True)
class OwnedShare:
    """A share that its owner works on. *is_row*: PostgreSQL has it; *has_unsent*: events of it wait in the outbox.

    *snapshot*: the only items that it shows; None where it shows the list's current ones.
    """

    share: Share
    is_row: bool
    is_revoked: bool
    is_expired: bool
    has_unsent: bool
    snapshot: tuple[UUID, ...] | None = None


def wishlist_not_found(wishlist: str) -> ApiError:
    """404, in the spec's words."""
    shown = wishlist[:64].replace("\0", "")
    return ApiError(404, "WISHLIST_NOT_FOUND", f"Wishlist {shown} does not exist or you do not have access")


def checked(row: asyncpg.Record | None, wishlist: str, user: str, forbidden: str) -> asyncpg.Record:
    """*row* (with ``owner``) where it is there and the user's; raises 404 or 403."""
    if row is None:
        raise wishlist_not_found(wishlist)
    if row["owner"] != user:
        raise ApiError(403, "FORBIDDEN", forbidden)
    return row


def check_id(wishlist: str) -> None:
    """Raise 404 for what cannot be a wishlist's id."""
    if not _PUBLIC_ID.fullmatch(wishlist):
        raise wishlist_not_found(wishlist)


async def owned_share(db: Database, reader: ShareReader, *, wishlist: str, token: str, user: str) -> OwnedShare:
    """The share *token* of *wishlist*, applied or not yet; raises 404, 403 or :class:`ShareClosed`."""
    check_id(wishlist)
    row = checked(
        await db.row(_OWNED_SHARE, wishlist, token[:64]),
        wishlist,
        user,
        "You can only manage shares of wishlists you own",
    )
    if row["share_id"] is None:
        found = await reader.find(token)
        if found is None or found.wishlist_id != row["wishlist_id"]:
            if await reader.was_revoked(token, row["wishlist_id"]):
                raise ShareClosed(row["wishlist_id"])
            raise ApiError(404, "SHARE_NOT_FOUND", "This wishlist has no such share")
        return OwnedShare(found, is_row=False, is_revoked=False, is_expired=False, has_unsent=row["has_unsent"])
    share = Share(
        share_id=row["share_id"],
        token=token,
        wishlist_id=row["wishlist_id"],
        owner_id=row["owner_id"],
        channel=Channel(row["share_channel"] or Channel.UNKNOWN),
        expires_at=row["expires_at"],
        hidden_item_ids=tuple(row["hidden"]),
        message=row["message"],
        created_at=row["created_at"],
        variant=row["variant"],
    )
    return OwnedShare(
        share,
        is_row=True,
        is_revoked=row["is_revoked"],
        is_expired=row["expired_at"] is not None,
        has_unsent=row["has_unsent"],
        snapshot=None if row["snapshot_items"] is None else tuple(row["snapshot_items"]),
    )
