"""``wishlist dlq`` against real letters: agents refuse records, an operator looks, sends back, gives up."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import uuid4

import asyncpg
import pytest
from confluent_kafka import TopicPartition
from confluent_kafka.admin import AdminClient
from typer.testing import CliRunner, Result

from clients import metrics
from clients.postgres import Database
from config.settings import PostgresSettings
from ops.cli import app
from ops.dead_letters import audit, retention
from schemas.event import EventType, ShareEvent
from schemas.ids import new_share_token, uuid7
from sinks import previews, segment, share_store
from sinks.dead_letters import GROUP as KEEPERS
from streams.dead_letter_count import DeadLetterCount
from tests.lab import CODEC, NOWHERE, ROOT, Lab, event, eventually, open_lab
from tests.warehouse import open_warehouse

WAIT = ("--wait", "60")
NO_DATABASE = f"postgresql://wishlist@{NOWHERE}/wishlist"


@pytest.fixture
async def lab(tmp_path: Path) -> AsyncIterator[Lab]:
    async with open_lab(tmp_path) as lab:
        yield lab


class Operator:
    """Runs the command, as somebody at a terminal does."""

    def __init__(self, env: dict[str, str]) -> None:
        self.env = env

    async def run(self, *words: str, expect: int = 0, **env: str) -> Result:
        """One command; its exit code must be *expect*, and no traceback may show."""
        result = await asyncio.to_thread(
            lambda: CliRunner().invoke(app, ["dlq", *words], env={**self.env, "COLUMNS": "200", **env})
        )
        assert result.exit_code == expect, (words, result.output, result.exception)
        assert "Traceback (most recent" not in result.stderr
        return result

    async def json(self, *words: str, expect: int = 0, **env: str) -> Any:
        """As :meth:`run`, with what it says to scripts."""
        return json.loads((await self.run(*words, "--json", expect=expect, **env)).stdout)

    async def ids(self, *words: str) -> dict[str, str]:
        """The error's message of each letter that ``list`` shows."""
        found = await self.json("list", "--letters", *words)
        return {letter["id"]: letter["error_message"] for letter in found["letters"]}

    async def letters(self, count: int) -> dict[str, str]:
        """As :meth:`ids`, as soon as *count* are there."""
        found: dict[str, str] = {}

        async def there() -> bool:
            nonlocal found
            found = await self.ids()
            return len(found) >= count

        await eventually(there, 60, f"{count} dead letters")
        assert len(found) == count
        return found


@pytest.fixture
def operator(lab: Lab) -> Operator:
    return Operator(lab.env)


def of(lab: Lab, group: str) -> str:
    return group + lab.env["STREAM_GROUP_SUFFIX"]


def end(lab: Lab, topic: str | None = None) -> int:
    return sum(lab.end_offsets(topic).values())


async def refused_view(lab: Lab) -> tuple[ShareEvent, Callable[[], Awaitable[Any]]]:
    """A view that the share store refuses, because its token is another share's, and what makes it acceptable."""
    token = new_share_token()
    other = event(token=token)
    view = event(EventType.VIEWED, token, share_id=uuid7(), visitor_hash="cd" * 16, page_view_id=uuid7())
    lab.produce_events([other, view])
    return view, lambda: lab.pool.execute("DELETE FROM wishlist_shares WHERE id = $1", other.share_id)


async def views_of(lab: Lab, view: ShareEvent) -> int | None:
    count: int | None = await lab.pool.fetchval("SELECT view_count FROM wishlist_shares WHERE id = $1", view.share_id)
    return count


async def table(lab: Lab) -> list[asyncpg.Record]:
    return await lab.pool.fetch("SELECT * FROM dead_letters ORDER BY dlq_partition, dlq_offset")


async def test_poison_of_each_kind_is_summed_up_and_shown_without_secrets(lab: Lab, operator: Operator) -> None:
    token = new_share_token()
    good = CODEC.encode(event(token=token))
    secret = event(token=token, message="Happy birthday, Maya\0")
    poison = {
        "follow the record": good + b"\0\0",
        "unknown": b"\0\0\0\0\x63" + good[5:],
        "magic byte": b"not an event of Maya",
        "no value": None,
        "not Avro": good[:-5],
        "CharacterNotInRepertoire": CODEC.encode(secret),
        "allowed": good + b"\0" * 1_500_000,
        "unique constraint": CODEC.encode(event(token=token, share_id=uuid7())),
    }
    lab.produce([(token, good)])
    lab.start()
    lab.produce((token, value) for value in poison.values())
    found = await operator.letters(len(poison))
    for words in poison:
        assert sum(words in message for message in found.values()) >= 1, (words, found)
    # The agent that keeps them does not run: all this comes from the topic alone.
    assert await table(lab) == []

    summary = (await operator.run("list")).stdout
    assert of(lab, share_store.GROUP) in summary
    assert "8 letters" in summary
    groups = (await operator.json("list"))["groups"]
    assert sum(heap["letters"] for heap in groups) == len(poison)
    assert {heap["age"] for heap in groups} == {"under 15 min"}

    for one in found:
        for shown in ((await operator.run("show", one)).stdout, (await operator.run("show", one, "--json")).stdout):
            for word in (token, "Maya", str(secret.user_id)):
                assert word not in shown
            assert "Traceback (most recent call last)" in shown
    [with_message] = [one for one, message in found.items() if "Repertoire" in message]
    bare = await operator.json("show", with_message, "--unmask", "--as", "maya.c")
    assert bare["event"]["message"] == secret.message
    assert bare["key"] == token
    assert await table(lab) == []
    [act] = (await operator.json("audit"))["acts"]
    assert (act["act"], act["actor"], act["asked_for"]) == ("unmask", "maya.c", f"show {with_message} --unmask")
    assert "maya.c" in (await operator.run("show", with_message)).stdout


async def test_back_to_the_failed_group_only_counted_and_no_loop(lab: Lab, operator: Operator) -> None:
    lab.start("persist")
    lab.start("preview")
    lab.produce([(new_share_token(), b"not an event")])
    await operator.letters(2)
    [mine] = await operator.ids("--group", "share-store")
    [others] = await operator.ids("--group", "preview")

    # A dry run says what would happen, and nothing happens.
    before = end(lab)
    plan = await operator.json("redrive", "--group", "share-store", "--dry-run")
    assert plan == {"dry_run": True, "redriven": [mine], "refused": []}
    assert (end(lab), await table(lab)) == (before, [])
    assert (await operator.json("audit"))["acts"] == []

    sent = await operator.json("redrive", "--group", "share-store", "--yes", *WAIT, expect=1)
    assert sent["redriven"] == [mine]
    [newer] = sent["returned"].values()
    assert end(lab) == before + 1
    assert set(await operator.ids()) == {newer, others}, "the other group has read it and said nothing"
    await lab.applied(of(lab, previews.GROUP))
    assert set(await operator.ids()) == {newer, others}
    shown = await operator.json("show", newer)
    assert (shown["redrive_count"], shown["redrive_of"]) == (1, mine)
    assert shown["original"]["offset"] == (await operator.json("show", others))["original"]["offset"]
    assert (await operator.json("show", mine))["state"] == "returned"

    # What has come back is sent by its new id, three times in all.
    [told] = (await operator.json("redrive", mine, "--again", expect=1))["refused"]
    assert newer in told["why"]
    for count in (2, 3):
        [newer] = (await operator.json("redrive", newer, *WAIT, expect=1))["returned"].values()
        assert (await operator.json("show", newer))["redrive_count"] == count
    before = end(lab)
    refused = (await operator.run("redrive", newer, expect=1)).stdout
    assert "3 times" in refused
    assert "DLQ_MAX_REDRIVES=4" in refused
    assert end(lab) == before
    allowed = await operator.json("redrive", newer, *WAIT, expect=1, DLQ_MAX_REDRIVES="4")
    assert len(allowed["returned"]) == 1
    acts = (await operator.json("audit"))["acts"]
    assert [(act["act"], act["done"]) for act in acts] == [("redrive", 1)] * 4
    assert all(act["ended_at"] and "@" in act["actor"] for act in acts)


async def test_what_was_mended_is_applied_once_also_when_the_topic_has_forgotten(lab: Lab, operator: Operator) -> None:
    lab.start("persist")
    lab.start("dead_letters")
    view, mend = await refused_view(lab)
    [one] = await operator.letters(1)

    async def kept() -> bool:
        return len(await table(lab)) == 1

    await eventually(kept, 60, "the letter is in the table")
    admin = AdminClient({"bootstrap.servers": lab.kafka.bootstrap_servers})
    ends = lab.end_offsets(lab.kafka.dlq_topic)
    gone = [TopicPartition(lab.kafka.dlq_topic, number, offset) for number, offset in ends.items()]
    for deleted in admin.delete_records(gone).values():
        deleted.result(timeout=20)
    assert list(await operator.ids()) == [one]
    assert (await operator.json("show", one))["event"]["event_id"] == str(view.event_id)

    counter = DeadLetterCount(Database(PostgresSettings(dsn=lab.dsn)))
    gauge = metrics.DEAD_LETTERS_OPEN.labels(of(lab, share_store.GROUP))
    await counter.count()
    assert gauge._value.get() == 1
    assert metrics.DEAD_LETTERS_OPEN.labels(of(lab, KEEPERS))._value.get() == 0, "who has none counts none"

    await mend()
    sent = await operator.json("redrive", "--event", str(view.event_id), "--since", "1h", "--yes", *WAIT)
    assert (sent["applied"], sent["returned"], sent["unread"]) == ([one], {}, [])
    assert await views_of(lab, view) == 1
    assert await operator.ids() == {}
    assert list(await operator.ids("--state", "applied")) == [one]
    await counter.count()
    assert gauge._value.get() == 0

    [told] = (await operator.json("redrive", one, expect=1))["refused"]
    assert "--again" in told["why"]
    assert (await operator.json("redrive", one, "--again", *WAIT))["applied"] == [one]
    assert await views_of(lab, view) == 1, "the ledger knows it"


async def test_killed_between_sending_and_marking_it_is_sent_twice_and_applied_once(
    lab: Lab, operator: Operator
) -> None:
    lab.start()
    view, mend = await refused_view(lab)
    [one] = await operator.letters(1)
    await mend()
    # The row must be there to be held: a first dry look leaves it in the topic, the keeping agent brings it.
    lab.start("dead_letters")

    async def kept() -> bool:
        return len(await table(lab)) == 1

    await eventually(kept, 60, "the letter is in the table")
    before = end(lab)
    async with lab.pool.acquire() as connection:
        hold = connection.transaction()
        await hold.start()
        await connection.execute("SELECT FROM dead_letters FOR UPDATE")
        killed = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "ops.cli", "dlq", "redrive", one, cwd=ROOT, env=lab.env,
            stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.DEVNULL,
        )  # fmt: skip

        async def produced() -> bool:
            return end(lab) == before + 1

        try:
            await eventually(produced, 60, "the letter is sent")
        finally:
            killed.kill()
            await killed.wait()
        await hold.rollback()
    await lab.applied(of(lab, share_store.GROUP))
    assert await views_of(lab, view) == 1
    assert list(await operator.ids()) == [one], "nobody knows that it was sent"
    [cut_off] = (await operator.json("audit"))["acts"]
    assert (cut_off["ended_at"], cut_off["done"]) == (None, 0)
    assert (await operator.json("redrive", one, *WAIT))["applied"] == [one]
    assert end(lab) == before + 2
    assert await views_of(lab, view) == 1


async def test_a_group_that_stopped_itself_goes_on_after_its_letters_are_dealt_with(
    lab: Lab, operator: Operator
) -> None:
    token = new_share_token()
    stopped = lab.start(STREAM_MAX_CONSECUTIVE_REJECTS="3")
    lab.produce([(token, b"poison %d" % n) for n in range(4)])

    async def says_so() -> bool:
        return "group stopped" in (lab.logs / "persist-0.log").read_text()

    await eventually(says_so, 60, "the group stops itself")
    found = await operator.letters(3)
    late = event(token=token)
    lab.produce_events([late])
    sent = await operator.json("redrive", min(found), "--wait", "1", expect=1)
    assert (sent["applied"], sent["unread"]) == ([], [min(found)]), "nobody reads it"
    gone = await operator.json("discard", "--group", "share-store", "--reason", "a client's bug, mended", "--yes")
    assert len(gone["discarded"]) == 2
    stopped.send_signal(signal.SIGTERM)
    stopped.wait(30)
    lab.start(STREAM_MAX_CONSECUTIVE_REJECTS="3")
    await lab.applied(of(lab, share_store.GROUP))
    assert (await lab.totals())["shares"] == 1
    # The fourth of the poison, and the one that was sent back.
    after = await operator.json("list", "--letters")
    assert sorted(letter["redrive_count"] for letter in after["letters"]) == [0, 1]


async def test_discarding(lab: Lab, operator: Operator) -> None:
    lab.start()
    lab.produce([(new_share_token(), b"first"), (new_share_token(), b"second"), (new_share_token(), b"")])
    found = await operator.letters(3)
    one, two, three = sorted(found)
    dry = await operator.json("discard", one, "--reason", "why not", "--dry-run")
    assert (dry["discarded"], await table(lab)) == ([one], [])
    done = await operator.run("discard", one, two, "--reason", "sent by a broken test", "--as", "deepak")
    assert "2 letters discarded" in done.stdout
    assert list(await operator.ids()) == [three]
    assert set(await operator.ids("--state", "discarded")) == {one, two}
    [act] = (await operator.json("show", one))["acts"]
    assert (act["actor"], act["reason"], act["asked_for"]) == (
        "deepak", "sent by a broken test", f"discard {one} {two}"
    )  # fmt: skip
    assert "only open" in (await operator.run("discard", one, "--reason", "again", expect=1)).stdout
    assert "--again" in (await operator.run("redrive", one, expect=1)).stdout
    assert len((await operator.json("redrive", one, "--again", *WAIT, expect=1))["returned"]) == 1

    # After 90 days a letter goes; who did what to it stays.
    await lab.pool.execute("UPDATE dead_letters SET stored_at = now() - interval '90 days' WHERE state = 'discarded'")
    connection = await asyncpg.connect(lab.dsn)
    assert await retention.remove_old(connection, datetime.now(UTC)) == 1
    await connection.close()
    assert len((await operator.json("audit"))["acts"]) == 2


async def test_segment_messages_go_back_to_their_own_topic(lab: Lab, operator: Operator) -> None:
    async with open_warehouse(f"dlq_{uuid4().hex[:12]}") as warehouse:
        lab.env |= {"BIGQUERY_DATASET": warehouse.settings.dataset, "BIGQUERY_BATCH_SECONDS": "0.2"}
        lab.start("segment")
        lab.produce([("user_maya", b'{"messageId": 7, "userId": "maya@example.com"}')], lab.kafka.segment_topic)
        [one] = await operator.letters(1)
        shown = await operator.run("show", one)
        assert "messageId" in shown.stdout
        assert "maya@" not in shown.stdout
        assert "user_maya" not in shown.stdout
        sent = await operator.json("redrive", "--group", segment.GROUP + lab.env["STREAM_GROUP_SUFFIX"], "--yes",
                                   *WAIT, expect=1)  # fmt: skip
        assert len(sent["returned"]) == 1
        assert (end(lab, lab.kafka.segment_topic), end(lab)) == (2, 0)


async def test_one_of_kafka_and_postgresql_is_away(lab: Lab, operator: Operator) -> None:
    lab.start("persist")
    lab.start("dead_letters")
    lab.produce([(new_share_token(), b"not an event")])
    [one] = await operator.letters(1)

    async def kept() -> bool:
        return len(await table(lab)) == 1

    await eventually(kept, 60, "the letter is in the table")
    without = await operator.run("list", "--letters", POSTGRES_DSN=NO_DATABASE)
    assert one in without.stdout
    assert "PostgreSQL cannot be reached" in without.stderr
    without = await operator.run("list", "--letters", KAFKA_BOOTSTRAP_SERVERS=NOWHERE)
    assert one in without.stdout
    assert "Kafka cannot be reached" in without.stderr
    for words in (("redrive", one), ("discard", one, "--reason", "x"), ("show", one, "--unmask")):
        refused = await operator.run(*words, expect=1, POSTGRES_DSN=NO_DATABASE)
        assert "POSTGRES_DSN" in refused.stderr
        assert refused.stdout == ""
    refused = await operator.run("redrive", one, expect=1, KAFKA_BOOTSTRAP_SERVERS=NOWHERE)
    assert "KAFKA_BOOTSTRAP_SERVERS" in refused.stderr
    assert await lab.pool.fetchval("SELECT count(*) FROM dead_letter_acts") == 0


async def test_two_operators_do_not_get_into_each_others_way(
    lab: Lab, operator: Operator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(audit, "_LOCK_SECONDS", 0.4)
    lab.start("persist")
    lab.produce([(new_share_token(), b"not an event")])
    [one] = await operator.letters(1)
    connection = await asyncpg.connect(lab.dsn)
    async with audit.alone(connection):
        busy = await operator.run("redrive", one, expect=1)
        assert "another redrive or discard" in busy.stderr
    await connection.close()
    assert (await operator.json("redrive", one))["redriven"] == [one]


@pytest.mark.parametrize(
    ("words", "option", "remedy"),
    [
        (("show", "7-999"), "ID", "list --letters"),
        (("show", "seven"), "ID", "2-417"),
        (("redrive", "7-999"), "ID", "list --letters"),
        (("redrive", "--group", "nobody", "--yes"), "--group", "known are"),
        (("redrive", "--since", "yesterday"), "--since", "2h, 7d"),
        (("list", "--until", "13 o'clock"), "--until", "2h, 7d"),
        (("list", "--state", "lost"), "--state", "returned"),
        (("list", "--event", "17"), "--event", "UUID"),
        (("redrive",), "ID", "--all"),
        (("redrive", "1-1", "--wait", "-1"), "--wait", "0"),
        (("discard", "1-1"), "--reason", "Missing"),
        (("discard", "1-1", "--reason", " "), "--reason", "say why"),
    ],
)
async def test_bad_input_names_option_and_remedy(words: tuple[str, ...], option: str, remedy: str) -> None:
    # On the running parts as they are: nothing is changed in them.
    refused = await Operator(dict(os.environ)).run(*words, expect=2)
    assert option in refused.stderr
    assert remedy in refused.stderr


async def test_many_are_not_sent_without_a_yes(lab: Lab, operator: Operator) -> None:
    lab.start("persist")
    lab.produce([(new_share_token(), b"%d" % n) for n in range(3)])
    await operator.letters(3)
    assert "--dry-run" in (await operator.run("redrive", "--all", expect=2)).stderr
    assert (await operator.json("list"))["states"]["open"] == 3
    warned = await operator.run("redrive", "--all", "--dry-run", STREAM_MAX_CONSECUTIVE_REJECTS="2")
    assert "stops itself at 2" in " ".join(warned.stderr.split())
    sent = await operator.json("redrive", "--all", "--limit", "2", "--rate", "20", "--yes")
    assert len(sent["redriven"]) == 2
