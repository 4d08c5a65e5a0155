"""The person's rows in PostgreSQL, the key of their messages among them."""

from __future__ import annotations

from clients.postgres import Database
from ops.erasure.contract import Person

# Each table with what makes a row theirs; *p* has the person. What hangs on these rows by foreign keys and triggers
# (visitors, visibility, deliveries) goes with them. Events that wait, or could not be applied, are bytes that name them.
_ROWS = {
    "owner_keys": "owner_id = p.id",
    "event_outbox": "share_token = ANY(p.tokens) OR position(p.id_bytes IN value) > 0",
    "dead_letters": """convert_from(key, 'LATIN1') = ANY(p.tokens)
        OR position(p.id_bytes IN value) > 0 OR position(p.name_bytes IN value) > 0
        OR position(p.id::text IN error_message || coalesce(traceback, '')) > 0
        OR position(p.name IN error_message || coalesce(traceback, '')) > 0""",
    "pushes": "owner_id = p.id",
    "devices": "user_id = p.id",
    "digests": "owner_id = p.id",
    "digest_counts": "owner_id = p.id",
    "digest_visitors": "owner_id = p.id",
    "digest_owners": "owner_id = p.id",
    "notification_preferences": "user_id = p.id",
    "wishlist_shares": "created_by = p.id OR wishlist_id IN (SELECT w.id FROM wishlists w WHERE w.owner_id = p.id)",
    "wishlist_items": "wishlist_id IN (SELECT w.id FROM wishlists w WHERE w.owner_id = p.id)",
    "wishlists": "owner_id = p.id",
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
        counts = ", ".join(f"(SELECT count(*) FROM {table}, p WHERE {theirs})" for table, theirs in _ROWS.items())
        pool = await self._database.pool()
        return sum(await pool.fetchrow(f"{_PERSON} SELECT {counts}", *_arguments(person)))

    async def erase(self, person: Person) -> int:
        """See :meth:`ops.erasure.contract.Eraser.erase`."""
        erased = 0
        async with (await self._database.pool()).acquire() as connection, connection.transaction():
            for table, theirs in _ROWS.items():
                done = await connection.execute(
                    f"{_PERSON} DELETE FROM {table} USING p WHERE {theirs}", *_arguments(person)
                )
                erased += int(done.split()[-1])
        return erased


def _arguments(person: Person) -> tuple[object, ...]:
    return person.user_id, person.public_id, list(person.share_tokens)
