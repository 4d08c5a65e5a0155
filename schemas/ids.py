"""Identifiers: how each is made, and how it looks at the edge.

What can be derived is derived, so that the same act done twice names the same thing.
"""

from __future__ import annotations

import hashlib
import secrets
from datetime import datetime
from uuid import UUID, uuid5

import uuid_utils

BASE62 = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
TOKEN_LENGTH = 22
_DAY_MS = 86_400_000
NAMESPACE = UUID("6f1c1f0e-6b1d-5d0a-9a55-0b8f6f5b2c47")


def uuid7() -> UUID:
    """A new time-ordered UUID (RFC 9562, version 7)."""
    return UUID(int=uuid_utils.uuid7().int)


def uuid7_at(timestamp_ms: int, seed: bytes) -> UUID:
    """The version 7 UUID of a time in ms since 1970 whose random bits are the SHA-256 of *seed*: repeatable."""
    random = int.from_bytes(hashlib.sha256(seed).digest()[:10], "big")
    value = (max(timestamp_ms, 0) & (1 << 48) - 1) << 80 | random
    value &= ~(0xF << 76) & ~(0x3 << 62)
    return UUID(int=value | 0x7 << 76 | 0x2 << 62)


def new_share_token() -> str:
    """22 base62 characters holding 128 random bits (spec, "Share Link Format"; DESIGN 6)."""
    return share_token_of(secrets.randbits(128))


def share_token_of(number: int) -> str:
    """The token that holds the 128 bits of *number*, its lowest base62 digit first."""
    digits = []
    for _ in range(TOKEN_LENGTH):
        number, digit = divmod(number, 62)
        digits.append(BASE62[digit])
    return "".join(digits)


def view_event_id(token: str, page_view_id: UUID, now_ms: int) -> UUID:
    """The event id of one page view: the look-up and the beacon of one page say the same event.

    Its time is the page view's own where that is a version 7 UUID of the last or next day, else the day's start.
    """
    said_ms = page_view_id.int >> 80 if page_view_id.version == 7 else 0
    at = said_ms if abs(now_ms - said_ms) < _DAY_MS else now_ms - now_ms % _DAY_MS
    return uuid7_at(at, f"view:{token}:{page_view_id}".encode())


def expiry_event_id(share_id: UUID, expired_at: datetime) -> UUID:
    """The event id of one expiry: whoever announces it, and however often, says the same event."""
    return uuid7_at(int(expired_at.timestamp() * 1000), f"expired:{share_id}".encode())


def share_id_for(token: str) -> UUID:
    """The id of the share that *token* opens."""
    return uuid5(NAMESPACE, f"share:{token}")


def item_id_for(wishlist_id: UUID, product_id: str, share_id: UUID) -> UUID:
    """The id of a copied item: one per list, product and share, so that a double click is one item."""
    return uuid5(NAMESPACE, f"item:{wishlist_id}:{product_id}:{share_id}")


def first_wishlist_id_for(user_id: UUID) -> UUID:
    """The id of the list that a reader without any gets with the first copied item."""
    return uuid5(NAMESPACE, f"first-wishlist:{user_id}")


def public_share_id(share_id: UUID) -> str:
    """``share_`` and twelve hex digits, as in the spec's create trace."""
    return f"share_{share_id.hex[:12]}"


def public_item_id(item_id: UUID) -> str:
    """``wli_`` and the item's hex digits."""
    return f"wli_{item_id.hex}"


def public_wishlist_id(wishlist_id: UUID) -> str:
    """``wl_`` and the list's hex digits: all of them, since twelve, as older lists have, meet among ten million."""
    return f"wl_{wishlist_id.hex}"
