"""What Redis knows of shares, by key: shared by who fills it and by who ends shares.

``share:{token}`` holds a share or, once it has ended, a tombstone that nothing replaces. ``view:{token}`` holds the
list as it was last shown, for when PostgreSQL is away. ``recent:{wishlist}`` names shares that may not be rows yet,
``added:{user}`` a reader's copies that may not be. ``versions:{token}`` names the addresses by which its picture was
given out.
"""

from __future__ import annotations

from collections.abc import Awaitable, Iterable
from typing import cast
from uuid import UUID

from redis.asyncio import Redis

# The limit that counts a user's shares, by their public id; the other limits count addresses.
SHARE_LIMIT = "share_create"
TOMBSTONE = b"revoked"
# Longer than the topic keeps the revocation that PostgreSQL may still have to hear of.
TOMBSTONE_SECONDS = 35 * 86_400
# Networks and chats fetch a picture again for weeks by the address that they were given.
VERSIONS_SECONDS = 90 * 86_400


def share_key(token: str) -> str:
    """Where a share, or its tombstone, is."""
    return f"share:{token}"


def view_key(token: str) -> str:
    """Where the list is as it was last shown."""
    return f"view:{token}"


def buried_key(token: str) -> str:
    """Where it stands whose list's a revoked share was."""
    return f"buried:{token}"


def recent_key(wishlist_id: UUID) -> str:
    """Where the tokens of a list's new shares are."""
    return f"recent:{wishlist_id}"


def added_key(user: str) -> str:
    """Where the last copies of a reader are, by their public id."""
    return f"added:{user}"


def versions_key(token: str) -> str:
    """Where the versions are by which a share's picture was given out (the ``v`` of its address)."""
    return f"versions:{token}"


async def given_versions(redis: Redis, token: str) -> set[str]:
    """Those versions; raises :class:`redis.exceptions.RedisError` or ``OSError``."""
    members = await cast("Awaitable[set[bytes]]", redis.smembers(versions_key(token)))
    return {member.decode() for member in members}


def rate_key(limit: str, who: str) -> str:
    """Where the hits of *who* against a limit are."""
    return f"rate:{limit}:{who}"


async def end_list(redis: Redis, wishlist_id: UUID, tokens: Iterable[str]) -> set[str]:
    """Let no link to a list that is gone open it; returns the tokens, with those that Redis alone knew.

    Raises :class:`redis.exceptions.RedisError` or ``OSError``. Doing it twice does no harm.
    """
    recent = cast("list[bytes]", await redis.zrange(recent_key(wishlist_id), 0, -1))
    ended = {*tokens, *(token.decode() for token in recent)}
    async with redis.pipeline(transaction=True) as pipe:
        for token in ended:
            pipe.set(share_key(token), TOMBSTONE, ex=TOMBSTONE_SECONDS)
            pipe.delete(view_key(token), buried_key(token))
        pipe.delete(recent_key(wishlist_id))
        await pipe.execute()
    return ended
