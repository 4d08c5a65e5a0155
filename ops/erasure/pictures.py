"""The pictures of the person's shares, in the bucket."""

from __future__ import annotations

from clients.faults import Unavailable
from clients.objects import ObjectStore, content_key
from clients.postgres import Database
from ops.erasure.contract import NotYet, Person

_THEIRS = "FROM previews WHERE (share_token = ANY($1::text[]) OR wishlist_id = ANY($2::uuid[]))"


class Pictures:
    """A card shows its owner's name. Older cards, kept by their content alone, go by the bucket's rule in 7 days."""

    name = "pictures"

    def __init__(self, database: Database, store: ObjectStore) -> None:
        self._database = database
        self._store = store

    async def count(self, person: Person) -> int:
        """See :meth:`ops.erasure.contract.Eraser.count`."""
        return len(await self._keys(person))

    async def erase(self, person: Person) -> int:
        """See :meth:`ops.erasure.contract.Eraser.erase`."""
        pool = await self._database.pool()
        theirs = (list(person.share_tokens), list(person.wishlist_ids))
        # One that is being drawn comes after this: deleting their lists has seen to it that no other one begins.
        if await pool.fetchval(f"SELECT count(*) {_THEIRS} AND lease_until > now()", *theirs):
            raise NotYet("a picture is being drawn or removed; that takes a minute at most")
        keys = await self._keys(person)
        try:
            for key in keys:
                await self._store.delete(key)
        except Unavailable as error:
            raise _away(error) from error
        await pool.execute(f"DELETE {_THEIRS}", *theirs)
        return len(keys)

    async def _keys(self, person: Person) -> list[str]:
        pool = await self._database.pool()
        rows = await pool.fetch(
            f"SELECT share_token, content_hash {_THEIRS}", list(person.share_tokens), list(person.wishlist_ids)
        )
        folders = sorted({*person.share_tokens, *(row["share_token"] for row in rows)})
        contents = sorted({row["content_hash"] for row in rows if row["content_hash"] is not None})
        prefixes = [f"social/{token}/" for token in folders] + [content_key(content) for content in contents]
        try:
            return [found.key for prefix in prefixes async for found in self._store.listing(prefix)]
        except Unavailable as error:
            raise _away(error) from error


def _away(error: Exception) -> NotYet:
    return NotYet(f"the bucket cannot be reached: {error}; see R2_ENDPOINT_URL")
