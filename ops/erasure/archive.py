"""The person's events in the archive: files that hold any are written anew without them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from hashlib import sha256

from asyncpg.pool import PoolConnectionProxy

from clients.faults import Unavailable
from clients.objects import ObjectStore
from clients.postgres import Database
from ops.erasure.contract import NotYet, Person
from schemas import archive
from schemas.archive import DamagedFile
from sinks.archive import LONGEST_UNLISTED
from sinks.archive_files import CONTENT_TYPE, ArchiveReader, ListedFile, key_with

_AT_ONCE = 8
# The key of the advisory lock that one erasure in the archive holds; any fixed number would do.
LOCK = 890_250_966

# No row where the new file was put too long ago to be safe from the sweep.
_TAKE_PLACE = """
    WITH taken AS (
        UPDATE archive_files SET key = $3, sha256 = $4, bytes = $5, events = events - $6, erased = erased + $6
        WHERE id = $1 AND key = $2 AND clock_timestamp() - $7::timestamptz < $8::interval RETURNING 1)
    INSERT INTO archive_discards (key) SELECT $2 FROM taken RETURNING key"""

_PROGRESS = "UPDATE erasures SET progress = $3, erased = erased + $4 WHERE (user_id, store) = ($1, $2)"


class ArchivedEvents:
    """Looks through every file, in the manifest's order, and remembers how far it has come."""

    name = "archive"

    def __init__(self, database: Database, store: ObjectStore, prefix: str) -> None:
        self._database = database
        self._store = store
        self._prefix = prefix
        # Of whichever group a file is: one with its row in hand needs no other.
        self._reader = ArchiveReader(database, store, "")

    async def count(self, person: Person) -> int:
        """See :meth:`ops.erasure.contract.Eraser.count`."""
        found = 0
        async for file, body in self._files_that_mention(person, after=0):
            found += file.events - len(self._without(person, body))
        return found

    async def erase(self, person: Person) -> int:
        """See :meth:`ops.erasure.contract.Eraser.erase`.

        One at a time: another's file that is put and not listed yet would be taken for one that a kill left behind.
        """
        async with (await self._database.pool()).acquire() as connection:
            if not await connection.fetchval("SELECT pg_try_advisory_lock($1)", LOCK):
                raise NotYet("another erasure is at work in the archive")
            try:
                await self._erase(connection, person)
            finally:
                await connection.execute("SELECT pg_advisory_unlock($1)", LOCK)
        return 0  # counted as it went

    async def _erase(self, connection: PoolConnectionProxy, person: Person) -> None:
        mine = (person.user_id, self.name)
        after = await connection.fetchval("SELECT progress FROM erasures WHERE (user_id, store) = ($1, $2)", *mine)
        try:
            async for file, body in self._files_that_mention(person, after or 0):
                gone = await self._rewrite(connection, person, file, body)
                await connection.execute(_PROGRESS, *mine, file.id, gone)
            await self._drop_discarded()
            await self._drop_unlisted(person)
        except Unavailable as error:
            raise _away(error) from error

    async def _files_that_mention(self, person: Person, after: int) -> AsyncIterator[tuple[ListedFile, bytes]]:
        pool = await self._database.pool()
        word = str(person.user_id).encode()
        while rows := await pool.fetch(
            "SELECT * FROM archive_files WHERE id > $1 ORDER BY id LIMIT $2", after, _AT_ONCE
        ):
            files = [ListedFile.of(row) for row in rows]
            try:
                bodies = await asyncio.gather(*(self._reader.body_of(file) for file in files))
            except DamagedFile as error:
                raise NotYet(str(error)) from error
            except Unavailable as error:
                raise _away(error) from error
            for file, body in zip(files, bodies, strict=True):
                if await asyncio.to_thread(archive.mentions, body, [word]):
                    yield file, body
            after = rows[-1]["id"]

    async def _rewrite(self, connection: PoolConnectionProxy, person: Person, file: ListedFile, body: bytes) -> int:
        """Put what is left of *file* in its place, by the connection that has the lock; how many events are gone."""
        began = await connection.fetchval("SELECT clock_timestamp()")
        kept = self._without(person, body)
        fresh = await asyncio.to_thread(archive.write, kept)
        digest = sha256(fresh).hexdigest()
        key = key_with(file.key, digest)
        await self._store.put(key, fresh, CONTENT_TYPE)
        gone = file.events - len(kept)
        arguments = (file.id, file.key, key, digest, len(fresh), gone, began, LONGEST_UNLISTED)
        if await connection.fetchval(_TAKE_PLACE, *arguments) is None:
            raise NotYet(f"{file.key} took too long to be written anew")
        return gone

    def _without(self, person: Person, body: bytes) -> list[archive.ArchivedEvent]:
        return [
            one for one in archive.read(body) if person.user_id not in (one.event.user_id, one.event.recipient_user_id)
        ]

    async def _drop_discarded(self) -> None:
        """Remove the objects that others have taken the place of, also those of an erasure that was killed."""
        pool = await self._database.pool()
        for row in await pool.fetch("SELECT key FROM archive_discards"):
            await self._store.delete(row["key"])
            await pool.execute("DELETE FROM archive_discards WHERE key = $1", row["key"])

    async def _drop_unlisted(self, person: Person) -> None:
        """Remove what kills left behind of theirs: no sink lists it any more, and the sweep would take an hour."""
        pool = await self._database.pool()
        there = [found.key async for found in self._store.listing(self._prefix)]
        rows = await pool.fetch("SELECT key FROM archive_files WHERE key = ANY($1::text[])", there)
        for key in sorted(set(there) - {row["key"] for row in rows}):
            body = await self._store.get(key)
            if body is not None and archive.mentions(body, [str(person.user_id).encode()]):
                await self._store.delete(key)


def _away(error: Exception) -> NotYet:
    return NotYet(f"the bucket cannot be reached: {error}; see R2_ENDPOINT_URL")
