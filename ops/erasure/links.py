"""The person's shares in Redis and the CDN, and what Redis keeps under their name."""

from __future__ import annotations

from redis.asyncio import Redis
from redis.exceptions import RedisError

from clients.links import SHARE_LIMIT, added_key, buried_key, end_list, rate_key, recent_key, share_key, view_key
from clients.postgres import Database
from config.settings import ApiSettings
from ops.erasure.contract import NotYet, Person
from streams.shares.ended_lists import EndedListOutbox


class Links:
    """Tombstones stay: a token alone, for as long as the topic may still speak of it."""

    name = "links"

    def __init__(self, database: Database, redis: Redis, settings: ApiSettings) -> None:
        self._database = database
        self._redis = redis
        self._settings = settings

    async def count(self, person: Person) -> int:
        """See :meth:`ops.erasure.contract.Eraser.count`."""
        try:
            return int(await self._redis.exists(*_keys(person)))
        except (RedisError, OSError) as error:
            raise _away(error) from error

    async def erase(self, person: Person) -> int:
        """See :meth:`ops.erasure.contract.Eraser.erase`."""
        erased = await self.count(person)
        outbox = EndedListOutbox(self._redis, self._settings)
        try:
            for wishlist in person.wishlist_ids:
                await end_list(self._redis, wishlist, person.share_tokens)
            await self._redis.delete(*_names(person))
            left = await outbox.end_now(self._database, person.wishlist_ids)
        except (RedisError, OSError) as error:
            raise _away(error) from error
        finally:
            await outbox.close()
        if left:
            raise NotYet(f"links of deleted lists wait to be ended: {left}; see REDIS_URL and API_PURGE_URL")
        return erased


def _names(person: Person) -> list[str]:
    return [added_key(person.public_id), rate_key(SHARE_LIMIT, person.public_id)]


def _keys(person: Person) -> list[str]:
    shares = [key(token) for token in person.share_tokens for key in (share_key, view_key, buried_key)]
    return [*_names(person), *shares, *(recent_key(wishlist) for wishlist in person.wishlist_ids)]


def _away(error: Exception) -> NotYet:
    return NotYet(f"Redis cannot be reached: {error}; see REDIS_URL")
