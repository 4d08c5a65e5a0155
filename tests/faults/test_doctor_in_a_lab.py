"""`wishlist doctor` where parts are away and work is late, without a whole stack; that one is test_doctor.py's."""

from __future__ import annotations

import asyncio
import json
import re
import subprocess
import sys
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from clients import outbox
from clients.links import TOMBSTONE, share_key
from ops.seed import key_of
from schemas.event import EventType
from schemas.ids import new_share_token, uuid7
from sinks.digest import GROUP as DIGEST
from tests.doctor_words import symptoms, unknown
from tests.lab import CODEC, ROOT, Lab, event, open_lab
from tests.own_services import OwnServices, open_services

pytestmark = pytest.mark.timeout(300)


@dataclass
class Patient:
    """A lab on PostgreSQL and Redis of its own."""

    lab: Lab
    services: OwnServices

    async def ask(self) -> dict[str, Any]:
        """What the doctor finds. Whatever is away, it is told as JSON and without a traceback."""
        words = [sys.executable, "-m", "ops.cli", "doctor", "--json"]
        asking = partial(subprocess.run, words, cwd=ROOT, env=self.lab.env, capture_output=True, text=True, timeout=90)
        done = await asyncio.to_thread(asking)
        assert "Traceback" not in done.stderr, done.stderr[-3_000:]
        said: dict[str, Any] = json.loads(done.stdout)
        assert done.returncode == 1
        return said


@pytest.fixture
async def patient(tmp_path: Path) -> AsyncIterator[Patient]:
    with open_services() as services:
        async with open_lab(tmp_path, own=services) as lab:
            lab.env["DOCTOR_PROCESSES"] = ""
            yield Patient(lab, services)


async def test_what_is_late_or_away_is_named_and_no_more_once_it_is_over(patient: Patient) -> None:
    lab, services = patient.lab, patient.services
    made = event()
    share = (made.share_id, made.wishlist_id, made.share_token, made.user_id)
    add = "INSERT INTO wishlist_shares (id, wishlist_id, share_token, created_by, share_channel, expires_at) "
    await lab.pool.execute(add + "VALUES ($1, $2, $3, $4, 'email', NULL)", *share)
    over = event()
    await lab.pool.execute(
        add + "VALUES ($1, $2, $3, $4, 'email', $5)",
        *(over.share_id, over.wishlist_id, over.share_token, over.user_id),
        datetime.now(UTC) - timedelta(minutes=5),
    )
    await outbox.append(lab.pool, CODEC, event())
    await lab.pool.execute("UPDATE event_outbox SET created_at = now() - interval '1 minute'")
    await lab.pool.execute(
        "INSERT INTO ended_lists (wishlist_id, share_tokens, ended_at) VALUES ($1, '{}', now() - interval '1 hour')",
        uuid4(),
    )
    await lab.pool.execute(
        """INSERT INTO webhooks (owner_id, url, secret, disabled_at) VALUES (NULL, 'https://example.com', 's', now())"""
    )
    await lab.pool.execute(
        """INSERT INTO pushes (owner_id, wishlist_id, items, happened_at, due_at)
           VALUES ($1, $2, 1, now(), now() - interval '1 hour')""",
        key_of("user_maya"),
        uuid4(),
    )
    with services.open_redis() as redis:
        redis.set(share_key(made.share_token), TOMBSTONE)

    said = await patient.ask()
    found = symptoms(said)
    ill = {"outbox-waiting", "expiries-late", "ended-lists-waiting", "webhook-of-the-shop-disabled", "pushes-waiting",
           "links-dead", "group-empty"}  # fmt: skip
    assert ill <= found.keys()
    assert "events: 1, for " in found["outbox-waiting"]
    assert DIGEST in json.dumps(said["findings"])
    assert not {"postgres-away", "redis-away", "kafka-away", "migrations-missing", "group-behind"} & found.keys()
    [dead] = [one for one in said["findings"] if one["symptom"] == "links-dead"]
    # What it says to do is what helps.
    key = re.search(r" del (\S+);", dead["do"])
    assert key is not None
    with services.open_redis() as redis:
        assert redis.delete(key[1]) == 1
    for table in ("event_outbox", "ended_lists", "webhooks", "pushes"):
        await lab.pool.execute(f"DELETE FROM {table}")
    await lab.pool.execute("UPDATE wishlist_shares SET expired_at = expires_at")

    services.kill("postgres")
    services.kill("redis")
    said = await patient.ask()
    found = symptoms(said)
    assert {"postgres-away", "redis-away"} <= found.keys()
    assert "kafka-away" not in found
    assert said["findings"][0]["level"] == "broken", "what is worst comes first"
    assert {"migrations", "outbox", "dlq", "links"} <= unknown(said)

    await asyncio.to_thread(services.start, "postgres", "redis")
    token = new_share_token()
    lab.produce_events(
        event(EventType.VIEWED, token, visitor_hash=f"v{number}", page_view_id=uuid7()) for number in range(2_001)
    )
    found = symptoms(await patient.ask())
    # Nobody reads here, and nobody is to.
    assert found.keys() - {"renderer-away"} == {"group-empty", "group-behind", "processes-unnamed"}
    assert "2,001 of 2,000" in found["group-behind"] or "2,001 of 1,000" in found["group-behind"]
