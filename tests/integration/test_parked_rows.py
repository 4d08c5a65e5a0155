"""``wishlist dlq`` over parked rows: seen without secrets, sent again, discarded, with an audit."""

from __future__ import annotations

import asyncio
import json
from typing import Any
from uuid import UUID, uuid4

import asyncpg
import pytest
from prometheus_client import REGISTRY
from typer.testing import CliRunner, Result

from clients.postgres import Database
from config.settings import PostgresSettings
from ops.cli import app
from ops.dead_letters import retention
from ops.seed import key_of
from streams.outbox_count import OutboxCount
from tests.lab import Lab

MAYA = key_of("user_maya")
REASON = "ValueError: cannot write to maya@example.com of 198.51.100.7"


@pytest.fixture
async def digest(lab: Lab) -> UUID:
    """A parked digest of Maya's."""
    id = uuid4()
    await lab.pool.execute(
        """INSERT INTO digests (id, owner_id, local_date, content, due_at, state, attempts, failures, reason, traceback,
                                parked_at)
           VALUES ($1, $2, '2026-06-01', '{"name": "Maya C.", "totals": {"views": 3}}', now() - interval '1 hour',
                   'parked', 7, 5, $3, $4, now() - interval '20 minutes')""",
        id,
        MAYA,
        REASON,
        f'Traceback (most recent call last):\n  File "mail.py", line 1, in render\n{REASON}',
    )
    return id


async def run(lab: Lab, *words: str, expect: int = 0) -> Result:
    """One command; no traceback of its own may show."""
    result = await asyncio.to_thread(
        lambda: CliRunner().invoke(app, ["dlq", *words], env={**lab.env, "COLUMNS": "200"})
    )
    assert result.exit_code == expect, (words, result.output, result.exception)
    return result


async def said(lab: Lab, *words: str, expect: int = 0) -> Any:
    """What it says to scripts."""
    return json.loads((await run(lab, *words, "--json", expect=expect)).stdout)


async def test_a_parked_row_is_listed_and_shown_without_secrets(lab: Lab, digest: UUID) -> None:
    [group] = (await said(lab, "list"))["groups"]
    assert (group["kind"], group["group"], group["error_class"], group["letters"]) == (
        "row",
        "digests",
        "ValueError",
        1,
    )
    assert group["newest"] == f"digests/{digest}"
    listed = await run(lab, "list")
    assert f"digests/{digest}" in listed.stdout
    assert "maya@example.com" not in listed.stdout
    shown = await said(lab, "show", f"digests/{digest}")
    assert (shown["id"], shown["kind"], shown["outbox"], shown["attempts"]) == (
        f"digests/{digest}",
        "row",
        "digests",
        5,
    )
    assert shown["columns"]["content"] == {"name": "[masked]", "totals": {"views": "[masked]"}}
    assert shown["columns"]["local_date"] == "2026-06-01"
    assert "mail.py" in shown["traceback"]
    everything = json.dumps(shown) + (await run(lab, "show", f"digests/{digest}")).stdout
    assert not [secret for secret in ("maya@example.com", "198.51.100.7", "Maya C.") if secret in everything]
    unmasked = await said(lab, "show", f"digests/{digest}", "--unmask", "--as", "kwame")
    assert (unmasked["columns"]["content"]["name"], unmasked["error_message"]) == ("Maya C.", REASON)
    assert [(act["act"], act["actor"], act["done"]) for act in unmasked["acts"]] == [("unmask", "kwame", 1)]


async def test_a_row_is_sent_again_by_id_by_outbox_and_by_error(lab: Lab, digest: UUID) -> None:
    state = "SELECT state, attempts, failures, parked_at, due_at <= now() AS is_due FROM digests"
    park = "UPDATE digests SET state = 'parked', failures = 5, parked_at = now()"
    for words in (
        (f"digests/{digest}",),
        ("--group", "digests", "--error", "cannot write", "--yes"),
        ("--all", "--yes"),
    ):
        dry = await said(lab, "redrive", *words, "--dry-run")
        assert dry == {"dry_run": True, "redriven": [f"digests/{digest}"], "refused": []}
        done = await said(lab, "redrive", *words)
        assert done == {"dry_run": False, "redriven": [f"digests/{digest}"], "refused": []}
        [row] = await lab.pool.fetch(state)
        assert tuple(row) == ("due", 0, 0, None, True)
        assert (await said(lab, "list"))["total"] == 0
        await lab.pool.execute(park)
    acts = (await said(lab, "audit"))["acts"]
    assert [(act["act"], act["letters"], act["done"]) for act in acts] == [("redrive", 1, 1)] * 3


async def test_a_row_is_discarded_with_a_reason(lab: Lab, digest: UUID) -> None:
    done = await said(lab, "discard", f"digests/{digest}", "--reason", "the owner has left")
    assert done == {"dry_run": False, "discarded": [f"digests/{digest}"], "refused": []}
    assert await lab.pool.fetchval("SELECT state FROM digests") == "dropped"
    [act] = (await said(lab, "audit"))["acts"]
    assert (act["act"], act["reason"], act["done"]) == ("discard", "the owner has left", 1)
    await run(lab, "discard", f"digests/{digest}", "--reason", "once more", expect=2)


@pytest.mark.parametrize(
    ("words", "remedy"),
    [
        (("show", "digests/7"), "no row is parked"),
        (("show", "diggers/7"), "one of previews"),
        (("redrive", "digests/"), "OUTBOX/ROW"),
        (("redrive", "--group", "pu", "--yes"), "part of several"),
    ],
)
async def test_bad_input_names_the_remedy(lab: Lab, words: tuple[str, ...], remedy: str) -> None:
    assert remedy in " ".join((await run(lab, *words, expect=2)).stderr.split())


async def test_a_row_whose_place_is_taken_is_refused_by_name(lab: Lab) -> None:
    """While a push waits to be announced, what is added meanwhile goes into it: there is one a list."""
    list_id = uuid4()
    rows = [
        await lab.pool.fetchval(
            """INSERT INTO pushes
               (owner_id, wishlist_id, items, happened_at, due_at, state, failures, reason, parked_at)
               VALUES ($1, $2, 1, now(), now(), $3, 5, 'KeyError: 1', CASE WHEN $3 = 'parked' THEN now() END)
               RETURNING id""",
            MAYA,
            list_id,
            state,
        )
        for state in ("parked", "due")
    ]
    refused = await said(lab, "redrive", f"pushes/{rows[0]}", expect=1)
    assert refused["redriven"] == []
    [why] = refused["refused"]
    assert (why["id"], "discard this one" in why["why"]) == (f"pushes/{rows[0]}", True)


async def test_every_outbox_is_counted_and_old_rows_are_given_up(lab: Lab, digest: UUID) -> None:
    database = Database(PostgresSettings(dsn=lab.dsn))
    count = OutboxCount(database)
    await count.count()

    def rows(state: str) -> float | None:
        return REGISTRY.get_sample_value("wishlist_outbox_rows", {"outbox": "digests", "state": state})

    assert (rows("parked"), rows("due")) == (1, 0)
    connection = await asyncpg.connect(lab.dsn)
    now = await connection.fetchval("SELECT now() + interval '91 days'")
    assert await retention.remove_old(connection, now) == 1
    assert await connection.fetchval("SELECT state FROM digests") == "dropped"
    await count.count()
    assert (rows("parked"), rows("due")) == (0, 0)
    await connection.close()
    await (await database.pool()).close()


async def test_the_lists_of_every_outbox_can_be_read(lab: Lab) -> None:
    assert (await said(lab, "list"))["total"] == 0
    assert "no parked rows" in (await run(lab, "list")).stdout
