"""An erasure: the person goes on the list of removed users, then each store is seen to, as often as it takes.

Every step can be repeated. A row for each store in ``erasures`` says what is done; the rest is done by the next run.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from uuid import UUID

from asyncpg import Pool

from clients.postgres import Database
from ops.erasure.contract import Eraser, NotYet, Person
from sinks.removed import hashed

_WAIT_SECONDS = 30.0

# From here on sinks pass by what is theirs (sinks/removed.py). A person who was erased before and came back under the
# same key is erased anew.
_BEGIN = """
    WITH known AS (SELECT id FROM users WHERE public_id = $1),
         again AS (UPDATE erasures SET is_done = FALSE, progress = 0 WHERE user_id IN (SELECT id FROM known))
    SELECT remove_user(id, $2) FROM known"""
_OPEN = """
    SELECT user_id, public_id, wishlist_ids, share_tokens FROM removed_users
    WHERE completed_at IS NULL AND ($1::text IS NULL OR public_id = $1) ORDER BY removed_at"""
_NOTE = """
    INSERT INTO erasures AS e (user_id, store, is_done, erased, note) VALUES ($1, $2, $3, $4, $5)
    ON CONFLICT (user_id, store) DO UPDATE
    SET is_done = EXCLUDED.is_done, erased = e.erased + EXCLUDED.erased, note = EXCLUDED.note, updated_at = now()
    RETURNING erased"""
# What was kept in clear only to find what is theirs.
_COMPLETE = """
    UPDATE removed_users SET completed_at = now(), public_id = NULL, wishlist_ids = NULL, share_tokens = NULL
    WHERE user_id = $1"""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What was done about one store, by all runs; *note* says what it waits for where it is not done.

    *is_known*: whether *erased* is a count. It is not where a store that was only to be counted did not answer.
    """

    store: str
    is_done: bool
    erased: int
    note: str = ""
    is_known: bool = True


class Erasures:
    """*erasers* in the order in which they are asked, PostgreSQL first: with it go the person's links and keys."""

    def __init__(self, database: Database, erasers: Sequence[Eraser]) -> None:
        self._database = database
        self._erasers = erasers

    async def find(self, public_id: str) -> Person | None:
        """Who has that public id, with what is theirs now, for a look at it before anything is done."""
        row = await (await self._database.pool()).fetchrow(
            """SELECT u.id, array(SELECT w.id FROM wishlists w WHERE w.owner_id = u.id) AS wishlists,
                      array(SELECT s.share_token FROM wishlist_shares s WHERE s.created_by = u.id) AS tokens
               FROM users u WHERE u.public_id = $1""",
            public_id,
        )
        if row is not None:
            return Person(row["id"], public_id, row["wishlists"], row["tokens"])
        waiting = await self.open(public_id)
        return waiting[0] if waiting else None

    async def erased_at(self, public_id: str) -> datetime | None:
        """When the erasure of who had that public id was completed."""
        found: datetime | None = await (await self._database.pool()).fetchval(
            "SELECT completed_at FROM removed_users WHERE public_id_sha256 = $1", hashed(public_id)
        )
        return found

    async def begin(self, public_id: str, by_whom: str) -> None:
        """Put who has that public id on the list of removed users."""
        await (await self._database.pool()).execute(_BEGIN, public_id, by_whom)

    async def open(self, public_id: str | None = None) -> list[Person]:
        """Whose erasure has begun and is not complete: of that public id, or all."""
        rows = await (await self._database.pool()).fetch(_OPEN, public_id)
        return [Person(row["user_id"], row["public_id"], row["wishlist_ids"], row["share_tokens"]) for row in rows]

    async def count(self, person: Person) -> AsyncIterator[Outcome]:
        """What there is of theirs in each store."""
        for eraser in self._erasers:
            try:
                yield Outcome(eraser.name, is_done=False, erased=await eraser.count(person))
            except NotYet as why:
                yield Outcome(eraser.name, is_done=False, erased=0, note=str(why), is_known=False)

    async def run(self, user_id: UUID) -> AsyncIterator[Outcome]:
        """See to each store that is not done; one that has to wait does not keep the others from it."""
        pool = await self._database.pool()
        done = await pool.fetch("SELECT store, erased FROM erasures WHERE user_id = $1 AND is_done", user_id)
        before = {row["store"]: row["erased"] for row in done}
        left = 0
        for eraser in self._erasers:
            if eraser.name in before:
                yield Outcome(eraser.name, is_done=True, erased=before[eraser.name], note="before")
                continue
            await pool.execute(
                "INSERT INTO erasures (user_id, store) VALUES ($1, $2) ON CONFLICT DO NOTHING", user_id, eraser.name
            )
            outcome = await self._see_to(pool, eraser, user_id)
            left += not outcome.is_done
            erased = await pool.fetchval(_NOTE, user_id, eraser.name, outcome.is_done, outcome.erased, outcome.note)
            yield replace(outcome, erased=erased)
        if not left:
            await pool.execute(_COMPLETE, user_id)

    async def _see_to(self, pool: Pool, eraser: Eraser, user_id: UUID) -> Outcome:
        try:
            await _await_older_transactions(pool)
            # Anew for each store: deleting the person's rows has added what came after they were put on the list.
            person = next((person for person in await self.open() if person.user_id == user_id), None)
            if person is None:
                return Outcome(eraser.name, is_done=True, erased=0, note="by another run")
            return Outcome(eraser.name, is_done=True, erased=await eraser.erase(person))
        except NotYet as why:
            return Outcome(eraser.name, is_done=False, erased=0, note=str(why))


async def _await_older_transactions(pool: Pool) -> None:
    """Wait until every transaction is over that may not have seen the list as it is: a sink may be in one."""
    horizon = await pool.fetchval("SELECT pg_snapshot_xmax(pg_current_snapshot())::text")
    give_up = asyncio.get_running_loop().time() + _WAIT_SECONDS
    while not await pool.fetchval("SELECT pg_snapshot_xmin(pg_current_snapshot()) >= $1::text::xid8", horizon):
        if asyncio.get_running_loop().time() > give_up:
            raise NotYet("a transaction in PostgreSQL that began before does not end; see pg_stat_activity")
        await asyncio.sleep(0.05)
