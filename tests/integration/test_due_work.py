"""What waits in PostgreSQL for longer than it should is a figure for the alert."""

from __future__ import annotations

from uuid import uuid4

from prometheus_client import REGISTRY

from clients import outbox
from clients.postgres import Database
from config.settings import PostgresSettings
from ops.seed import key_of
from streams.due_work import MEASURED, LateWork
from tests.lab import CODEC, event, open_database


def late() -> dict[str, float | None]:
    """By how many seconds each kind is late, as far as it is."""
    found = {
        work.name: REGISTRY.get_sample_value("wishlist_work_late_seconds", {"work": work.name}) for work in MEASURED
    }
    return {name: seconds for name, seconds in found.items() if seconds != 0}


async def test_late_work_is_measured_and_forgotten() -> None:
    async with open_database(f"due_{uuid4().hex[:12]}") as dsn:
        database = Database(PostgresSettings(dsn=dsn))
        pool, measuring = await database.pool(), LateWork(database)
        await measuring.measure()
        assert late() == {}
        await outbox.append(pool, CODEC, event())
        await pool.execute(
            """INSERT INTO ended_lists (wishlist_id, share_tokens, ended_at)
               VALUES ($1, '{}', now() - interval '2 hours')""",
            uuid4(),
        )
        await pool.execute(
            """INSERT INTO webhooks (owner_id, url, secret, disabled_at)
               VALUES (NULL, 'https://example.com', 's', now()), ($1, 'https://example.com', 's', now())""",
            key_of("user_maya"),
        )
        await measuring.measure()
        assert late().keys() == {"ended_lists", "shop_webhook"}, "a new event in the outbox is no matter"
        assert abs((late()["ended_lists"] or 0) - 7_140) < 30
        await pool.execute("UPDATE event_outbox SET created_at = now() - interval '1 minute'")
        await measuring.measure()
        assert abs((late()["outbox"] or 0) - 50) < 30
        await pool.execute("DELETE FROM event_outbox")
        await pool.execute("DELETE FROM ended_lists")
        await pool.execute("DELETE FROM webhooks")
        await measuring.measure()
        assert late() == {}
        await pool.close()
