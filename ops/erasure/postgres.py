"""The person's rows in PostgreSQL, the key of their messages among them."""

from __future__ import annotations

from asyncpg.pool import PoolConnectionProxy

from clients.postgres import Database
from ops.erasure.contract import NotYet, Person
from sinks.contract import Retry
from sinks.postgres import transaction

# Each table with what makes a row theirs; *p* has the person. What hangs on these rows by foreign keys and triggers
# (visitors, visibility, deliveries) goes with them. Lists go before shares, so that they still know their links. Events
# that wait, or could not be applied, are bytes that name them.
ROWS = {
    "owner_keys": "owner_id = p.id",
    "event_outbox": "share_token = ANY(p.tokens) OR position(p.id_bytes IN value) > 0",
    "dead_letters": """convert_from(key, 'LATIN1') = ANY(p.tokens)
        OR position(p.id_bytes IN value) > 0 OR position(p.name_bytes IN value) > 0
        OR position(p.id::text IN error_message || coalesce(traceback, '')) > 0
        OR position(p.name IN error_message || coalesce(traceback, '')) > 0""",
    "job_rows": """row_id IN (SELECT s.id::text FROM wishlist_shares s WHERE s.created_by = p.id)
        OR position(p.id::text IN coalesce(reason, '') || coalesce(traceback, '')) > 0
        OR position(p.name IN coalesce(reason, '') || coalesce(traceback, '')) > 0""",
    "pushes": "owner_id = p.id",
    "devices": "user_id = p.id",
    "digests": "owner_id = p.id",
    "digest_counts": "owner_id = p.id",
    "digest_visitors": "owner_id = p.id",
    "digest_owners": "owner_id = p.id",
    "notification_preferences": "user_id = p.id",
    "wishlists": "owner_id = p.id",
    "wishlist_items": "wishlist_id IN (SELECT w.id FROM wishlists w WHERE w.owner_id = p.id)",
    "wishlist_shares": "created_by = p.id OR wishlist_id IN (SELECT w.id FROM wishlists w WHERE w.owner_id = p.id)",
    "users": "users.id = p.id",
}
_PERSON = """
    WITH p AS (SELECT $1::uuid AS id, convert_to($1::uuid::text, 'UTF8') AS id_bytes, $2::text AS name,
                      convert_to($2::text, 'UTF8') AS name_bytes, $3::text[] AS tokens)"""


class PostgresRows:
    """All of PostgreSQL, in one transaction."""

    name = "postgres"

    def __init__(self, database: Database) -> None:
        self._database = database

    async def count(self, person: Person) -> int:
        """See :meth:`ops.erasure.contract.Eraser.count`."""
        async with (await self._database.pool()).acquire() as connection:
            return await _count(connection, person)

    async def erase(self, person: Person) -> int:
        """See :meth:`ops.erasure.contract.Eraser.erase`."""
        try:
            async with transaction(self._database) as connection:
                there = await _count(connection, person)
                # Links that came since the person was put on the list go onto it too.
                await connection.execute("SELECT remove_user($1, '')", person.user_id)
                for table, theirs in ROWS.items():
                    await connection.execute(
                        f"{_PERSON} DELETE FROM {table} USING p WHERE {theirs}", *_arguments(person)
                    )
        except Retry as error:
            raise NotYet(f"PostgreSQL: {error}") from error
        return there


async def _count(connection: PoolConnectionProxy, person: Person) -> int:
    counts = " + ".join(f"(SELECT count(*) FROM {table}, p WHERE {theirs})" for table, theirs in ROWS.items())
    found: int = await connection.fetchval(f"{_PERSON} SELECT {counts}", *_arguments(person))
    return found


def _arguments(person: Person) -> tuple[object, ...]:
    return person.user_id, person.public_id, list(person.share_tokens)
