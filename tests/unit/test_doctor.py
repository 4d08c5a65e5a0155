"""What `wishlist doctor` calls well and what it does not, at each limit; and that nothing stops it from saying so."""

from __future__ import annotations

import asyncio
import json
import re
import threading
import time
from collections.abc import Iterable
from dataclasses import replace
from email.utils import formatdate
from io import StringIO
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.parser import text_string_to_metric_families
from pydantic import ValidationError
from rich.console import Console
from typer.testing import CliRunner

from clients import metrics
from clients.cpu import CpuReading, stolen_between, waiting_between
from clients.cpu import read as read_cpu
from config.settings import DoctorSettings, KafkaSettings
from config.topics import topics
from ops import migrations
from ops.cli import app
from ops.doctor import (
    archive,
    clocks,
    cpu,
    dead_letters,
    disks,
    groups,
    kafka,
    postgres,
    processes,
    redis,
    renderer,
    sharing,
    showing,
    waiting,
    warehouse,
)
from ops.doctor.checks import CHECKS
from ops.doctor.clocks import Reading
from ops.doctor.examination import Result, examine
from ops.doctor.finding import Check, Finding, Level, Symptom, ago, well
from ops.doctor.groups import Group, Standing
from ops.doctor.kafka import PartitionState
from ops.doctor.pages import Page, Sample, between, clock_of
from ops.doctor.renderer import Pool
from ops.doctor.surroundings import Away, Surroundings, aside
from ops.doctor.waiting import Waiting
from tests.conftest import cpu_summary

DOCS = Path(__file__).parents[2] / "docs"
QUICK = DoctorSettings(watch_seconds=0)


def names(findings: Iterable[Finding]) -> list[str | None]:
    return [finding.symptom for finding in findings]


def is_well(findings: Iterable[Finding]) -> bool:
    return all(finding.level is Level.WELL for finding in findings)


# --- The examination ------------------------------------------------------------------------------------------------

ILL = Symptom(name="ill", says="something is ill", users="None.", do="mend {part}", over="It is well.", broken=True)
OFF = Symptom(name="off", says="a part does not answer", users="None.", do="start it", over="It answers.")


def check(name: str, outcome: object, *, away: Symptom | None = None, seconds: float = 5) -> Check:
    """One that finds, raises or waits, as *outcome* says."""

    async def look(around: Surroundings) -> Iterable[Finding]:
        if isinstance(outcome, BaseException):
            raise outcome
        if isinstance(outcome, float):
            await asyncio.sleep(outcome)
        return outcome if isinstance(outcome, list) else []

    return Check(name=name, at="", look=look, away=away, seconds=seconds)


async def test_what_is_worst_comes_first_and_no_check_stops_another() -> None:
    results = await examine(
        [
            check("fine", [well("fine")]),
            check("look", [replace(OFF).found("a bit")]),
            check("away", Away("Part", "refused\n by  it"), away=OFF),
            check("needs", Away("Part", "refused")),
            check("bug", KeyError("x")),
            check("ill", [well("half of it"), ILL.found("", part="it")]),
        ],
        QUICK,
    )
    assert [(result.check.name, result.finding.level.name) for result in results] == [
        ("ill", "BROKEN"),
        ("look", "LOOK"),
        ("away", "LOOK"),
        ("needs", "UNKNOWN"),
        ("bug", "UNKNOWN"),
        ("fine", "WELL"),
        ("ill", "WELL"),
    ]
    said = {result.check.name: result.finding for result in results if result.finding.level}
    assert said["ill"].do == "mend it"
    assert said["away"].seen == "a part does not answer: refused by it"
    assert "Part does not answer" in said["needs"].seen
    assert "KeyError" in said["bug"].seen


async def test_each_check_has_its_own_time_and_all_look_at_once() -> None:
    slow = [check(f"slow{number}", 30.0, seconds=0.3) for number in range(20)]
    began = time.monotonic()
    results = await examine([*slow, check("late", 30.0, away=ILL_WITHOUT_WORDS, seconds=0.3)], QUICK)
    assert time.monotonic() - began < 5, "one after the other they would take 6 s and more"
    assert names(result.finding for result in results) == ["late", *[None] * 20]
    assert all("no answer within" in result.finding.seen for result in results)


ILL_WITHOUT_WORDS = Symptom(name="late", says="late", users="", do="wait", over="", broken=True)


def test_a_driver_that_hangs_keeps_nobody() -> None:
    over = threading.Event()
    began = time.monotonic()

    async def ask() -> None:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.1):
                await aside(lambda: over.wait(60))
        assert await aside(lambda: 7) == 7
        with pytest.raises(Away):
            await aside(fail)

    def fail() -> None:
        raise Away("Part", "refused")

    asyncio.run(ask())
    assert time.monotonic() - began < 30
    over.set()


async def test_parts_that_are_not_there_are_findings(monkeypatch: pytest.MonkeyPatch) -> None:
    # A port that nobody listens on, for everything.
    for name, value in {
        "POSTGRES_DSN": "postgresql://wishlist@127.0.0.1:9/wishlist",
        "REDIS_URL": "redis://127.0.0.1:9/0",
        "KAFKA_BOOTSTRAP_SERVERS": "127.0.0.1:9",
        "RENDERER_URL": "http://127.0.0.1:9",
        "R2_ENDPOINT_URL": "http://127.0.0.1:9",
        "SQS_ENDPOINT_URL": "http://127.0.0.1:9",
        "BIGQUERY_ENDPOINT": "http://127.0.0.1:9",
        "BIGQUERY_STORAGE_ENDPOINT": "127.0.0.1:9",
        "SQS_ACCESS_KEY_ID": "none",
        "SQS_SECRET_ACCESS_KEY": "none",
    }.items():
        monkeypatch.setenv(name, value)
    settings = DoctorSettings(processes="api=http://127.0.0.1:9", watch_seconds=0, disks="/nowhere")
    # Google's client goes on trying for minutes; nobody waits for it.
    chosen = [replace(check, seconds=2) if check.name == "warehouse" else check for check in CHECKS]
    results = await examine(chosen, settings)
    assert {result.check.name for result in results} == {check.name for check in chosen}
    found = {result.finding.symptom for result in results}
    assert {
        "postgres-away",
        "redis-away",
        "kafka-away",
        "renderer-away",
        "bucket-away",
        "queue-away",
        "warehouse-away",
        "process-away",
        "disk-unseen",
    } <= found
    assert not any("the check itself failed" in result.finding.seen for result in results)
    unknown = {result.check.name for result in results if result.finding.level is Level.UNKNOWN}
    assert {"migrations", "outbox", "dlq", "lag", "links", "topics", "archive", "clocks"} <= unknown
    assert {"creation", "limits", "dashboard"} <= unknown, "what nobody tells is not well"


# --- The command --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("words", [["--only", "nonsense"], ["--only", "lag,nonsense"], ["--watch", "-1"], ["--what"]])
def test_what_is_not_understood_leaves_with_2(words: list[str]) -> None:
    answer = CliRunner().invoke(app, ["doctor", *words])
    assert answer.exit_code == 2
    if "--only" in words:
        said = " ".join(re.sub("[│╭╮╰╯─]", " ", answer.output).split())
        assert "'nonsense'" in said
        assert "brokers" in said


def test_a_bad_setting_is_named(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("DOCTOR_PROCESSES", "http://127.0.0.1:9")
    answer = CliRunner().invoke(app, ["doctor", "--only", "disk"])
    assert answer.exit_code == 2
    assert "DOCTOR_PROCESSES" in answer.output + answer.stderr


def test_only_what_was_asked_for_is_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DOCTOR_DISKS", "/nowhere")
    monkeypatch.setenv("DOCTOR_PROCESSES", "")
    answer = CliRunner().invoke(app, ["doctor", "--only", "disk", "--only", "processes", "--json", "--watch", "0"])
    assert answer.exit_code == 1
    said = json.loads(answer.stdout)
    assert said["level"] == "look"
    assert {one["check"]: one["symptom"] for one in said["findings"]} == {
        "disk": "disk-unseen",
        "processes": "processes-unnamed",
    }
    assert all(one["do"] and one["users"] and one["seen"] for one in said["findings"])


@pytest.mark.parametrize("width", [80, 120])
def test_a_table_that_fits(width: int) -> None:
    lag = next(check for check in CHECKS if check.name == "lag")
    away = Finding(Level.UNKNOWN, "not known, PostgreSQL does not answer: refused")
    results = [
        Result(lag, groups.BEHIND.found("a-group-with-a-very-long-name" * 5, agent="digest\x1b[2J")),
        *(Result(check, away, "PostgreSQL") for check in CHECKS[:6]),
        Result(lag, well("fine " * 40)),
    ]
    out = StringIO()
    Console(file=out, width=width, force_terminal=False).print(showing.table(results))
    lines = out.getvalue().splitlines()
    assert max(map(len, lines)) <= width
    text = out.getvalue()
    assert "\x1b" not in text
    assert text.count("not known, PostgreSQL does not answer") == 1, "who waits for the same part shares a row"
    assert all(check.name in text for check in CHECKS[:6])
    assert lines[0].startswith("! lag")
    assert "? 6 checks" in text
    assert "1 look, 6 unknown" in text


# --- Symptoms and runbook ---------------------------------------------------------------------------------------------


def test_every_symptom_says_what_it_must_and_is_told_from_every_other() -> None:
    every = [symptom for check in CHECKS for symptom in check.every_symptom]
    assert len({symptom.name for symptom in every}) == len(every)
    for symptom in every:
        assert all((symptom.says, symptom.users, symptom.do, symptom.over)), symptom.name
        # What ends in a full stop on the page must not bring one of its own.
        assert not symptom.says.endswith(".")
        assert not symptom.do.endswith("."), symptom.name
    assert len({check.name for check in CHECKS}) == len(CHECKS)


@pytest.mark.parametrize("one", CHECKS, ids=lambda one: one.name)
def test_that_a_part_is_away_can_be_said_without_knowing_more(one: Check) -> None:
    if one.away is not None:
        assert one.away.found("refused").do


def test_the_runbooks_links_lead_somewhere() -> None:
    page = (DOCS / "runbook.md").read_text()
    headings = set(re.findall(r"^#+ (.+)$", page, re.MULTILINE))
    links = set(re.findall(r"\]\(#([\w-]+)\)", page))
    assert links
    assert links <= headings
    for name, anchor in re.findall(r"\]\((\w+\.md)#([\w-]+)\)", page):
        others = re.findall(r"^#+ (.+)$", (DOCS / name).read_text(), re.MULTILINE)
        assert anchor in {re.sub(r"[^\w -]", "", heading).lower().replace(" ", "-") for heading in others}


def test_checks_that_it_speaks_of_exist() -> None:
    page = (DOCS / "runbook.md").read_text()
    known = {check.name for check in CHECKS}
    for words in re.findall(r"--only ([a-z,]+(?: [a-z]+)?)", page):
        assert set(re.split("[, ]", words)) & known, words
    for words in re.findall(r"[Tt]he checks? ([a-z]+)(?:(?:, ([a-z]+))* and ([a-z]+))? (?:is|are) well", page):
        assert {word for word in words if word} <= known, words


# --- Kafka -----------------------------------------------------------------------------------------------------------


def partition(number: int, leader: int = 1, in_sync: tuple[int, ...] = (1, 2, 3)) -> PartitionState:
    return PartitionState("events", number, leader, (1, 2, 3), in_sync)


@pytest.mark.parametrize(
    ("partitions", "brokers", "expected"),
    [
        ([partition(0), partition(1, 3)], {1, 2, 3}, [None]),
        ([partition(0), partition(1, 1, (1, 2))], {1, 2, 3}, ["partitions-under-replicated"]),
        ([partition(0), partition(1, 1, (1,))], {1, 2, 3}, ["partitions-under-min-isr"]),
        ([partition(0), partition(1, -1, (3,))], {1, 2}, ["partitions-offline"]),
        ([partition(0), partition(1, 3, (3,))], {1, 2}, ["partitions-offline"]),
        (
            [partition(0, -1, ()), partition(1, 1, (1,)), partition(2, 1, (1, 2))],
            {1, 2},
            ["partitions-offline", "partitions-under-min-isr", "partitions-under-replicated"],
        ),
    ],
)
def test_partitions(partitions: list[PartitionState], brokers: set[int], expected: list[str | None]) -> None:
    found = list(kafka.judge_partitions(partitions, brokers, 2))
    assert names(found) == expected
    if 3 not in brokers:
        assert "missing brokers: 3" in found[0].seen


def test_one_copy_is_enough_where_there_is_only_one() -> None:
    alone = PartitionState("events", 0, 1, (1,), (1,))
    assert is_well(kafka.judge_partitions([alone], {1}, 2))


def test_topics_against_their_settings() -> None:
    [events, _, _] = topics(KafkaSettings())
    assert kafka.judge_topic(events, 12, 3, 3, events.settings) == []
    [found] = kafka.judge_topic(events, 12, 3, 3, {**events.settings, "retention.ms": "3600000"})
    assert found.symptom == "topic-differs"
    assert "retention.ms is 3600000, not 2592000000" in found.seen
    assert found.do.endswith("--entity-name wishlist.social.events --add-config retention.ms=2592000000")
    assert ["partitions" in one.seen for one in kafka.judge_topic(events, 11, 3, 3, events.settings)] == [True]
    assert "cannot be taken away" in kafka.judge_topic(events, 13, 3, 3, events.settings)[0].do
    assert ["copies" in one.seen for one in kafka.judge_topic(events, 12, 2, 3, events.settings)] == [True]


# --- Groups --------------------------------------------------------------------------------------------------------

GROUP = Group("digest", "digests", ("events",), target=100, linger=60)


def standing(waiting_records: int, *, moved: float | None = 1, oldest: float | None = 1) -> Standing:
    return Standing("events", 4, 0, 1_000, 1_000 - waiting_records, moved, oldest)


@pytest.mark.parametrize(
    ("members", "one", "expected"),
    [
        (1, standing(0, moved=9_000, oldest=None), []),
        (1, standing(99), []),
        (1, standing(100), ["group-behind"]),
        # As long as a batch is gathered, and half a minute besides, nothing need move.
        (1, standing(5, moved=90, oldest=90), []),
        (1, standing(5, moved=91, oldest=91), ["partition-stands-still"]),
        (1, standing(5, moved=None, oldest=91), ["partition-stands-still"]),
        (1, standing(5, moved=9_000, oldest=2), []),
        (1, standing(5, moved=2, oldest=9_000), []),
        (1, standing(5, moved=9_000, oldest=None), []),
        (1, standing(500, moved=91, oldest=91), ["partition-stands-still", "group-behind"]),
        (0, standing(0), ["group-empty"]),
        (0, standing(500, moved=91, oldest=91), ["group-empty", "group-behind"]),
    ],
)
def test_groups(members: int, one: Standing, expected: list[str]) -> None:
    assert names(groups.judge(GROUP, members, [one])) == expected


def test_records_that_the_topic_has_forgotten() -> None:
    lost = Standing("events", 4, 500, 1_000, 200, 1, 1)
    [found, _] = groups.judge(GROUP, 1, [lost])
    assert found.symptom == "events-forgotten"
    assert "300 of digests" in found.seen
    assert found.do.startswith("wishlist replay digest")
    # A group that has never read begins at what there is.
    assert "events-forgotten" not in names(groups.judge(GROUP, 1, [replace(lost, position=None)]))


def test_every_group_has_the_specs_target_or_ours() -> None:
    found = {group.agent: group.target for group in groups.groups()}
    assert (found["warehouse"], found["digest"], groups.TARGETS["signals"]) == (1_000, 2_000, 500)
    assert {found[agent] for agent in found.keys() - {"warehouse", "digest", "archive"}} == {1_000}


# --- PostgreSQL, Redis, disks ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("used", "expected"),
    [(79, None), (80, "connections-short"), (94, "connections-short"), (95, "connections-used-up")],
)
def test_connections(used: int, expected: str | None) -> None:
    assert postgres.judge_connections(used, 100).symptom == expected


def test_migrations() -> None:
    known = migrations.all_migrations()
    applied = {step.number: step.name for step in known}
    assert is_well(postgres.judge_migrations(applied, known))
    last = known[-1]
    [found] = postgres.judge_migrations({n: name for n, name in applied.items() if n != last.number}, known)
    assert found.symptom == "migrations-missing"
    assert f"{last.number:03d} {last.name}" in found.seen
    [found] = postgres.judge_migrations({**applied, 999: "from_tomorrow"}, known)
    assert found.symptom == "migrations-newer"
    assert f"--above {last.number}" in found.do
    assert names(postgres.judge_migrations({}, known)) == ["migrations-missing"]


@pytest.mark.parametrize(
    ("seconds", "used", "most", "policy", "expected"),
    [
        (0.125, 90, 100, "noeviction", [None]),
        (0.126, 90, 100, "noeviction", ["redis-slow"]),
        (0.001, 91, 100, "noeviction", ["redis-memory"]),
        (0.001, 10, 100, "allkeys-lru", ["redis-evicts"]),
        (0.001, 10**12, 0, "allkeys-lru", [None]),
    ],
)
def test_redis(seconds: float, used: int, most: int, policy: str, expected: list[str | None]) -> None:
    assert names(redis.judge(seconds, 0.25, used, most, policy)) == expected


@pytest.mark.parametrize(("free", "expected"), [(100, None), (99, "disk-low"), (30, "disk-low"), (29, "disk-full")])
def test_disks(free: int, expected: str | None) -> None:
    assert disks.judge("/data", 1_000, free).symptom == expected


# --- What customers meet ---------------------------------------------------------------------------------------------


def page(registry: CollectorRegistry, name: str = "api", url: str = "http://api") -> Page:
    """A look at *registry*, as a scrape brings it."""
    text = generate_latest(registry).decode()
    samples: tuple[Sample, ...] = tuple(
        (sample.name, sample.labels, sample.value)
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    )
    return Page(name, url, 200, samples=samples)


class Api:
    """The API's counters, by their own names."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.requests = Counter("wishlist_http_requests", "", ["route", "method", "status"], registry=self.registry)
        self.seconds = Histogram(
            "wishlist_http_request_seconds",
            "",
            ["route"],
            registry=self.registry,
            buckets=metrics.HTTP_DURATION._kwargs["buckets"],
        )
        self.limits = {
            what: Counter(f"wishlist_rate_limit_{what}", "", ["limit"], registry=self.registry)
            for what in ("checks", "blocks", "fail_open")
        }

    def serve(self, many: int, seconds: float = 0.01, status: int = 201) -> None:
        for _ in range(many):
            self.requests.labels(sharing.CREATE, "POST", str(status)).inc()
            self.seconds.labels(sharing.CREATE).observe(seconds)

    def page(self) -> Page:
        return page(self.registry)


def test_only_what_happens_while_it_is_watched_is_judged() -> None:
    api = Api()
    api.serve(50, seconds=4, status=503)
    before = [api.page()]
    assert is_well(sharing.judge_creation(before, before))
    api.serve(100)
    assert is_well(sharing.judge_creation(before, [api.page()]))
    api.serve(1, seconds=4)
    api.serve(1, status=500)
    assert is_well(sharing.judge_creation(before, [api.page()])), "one in a hundred"
    api.serve(2, seconds=4)
    assert names(sharing.judge_creation(before, [api.page()])) == ["creation-slow"]
    api.serve(2, status=503)
    slow, failed = sharing.judge_creation(before, [api.page()])
    assert failed.symptom == "requests-fail"
    assert "1 × 500, 2 × 503 of 106" in failed.seen
    assert "3 of 106" in slow.seen


def test_limits_that_fail_open_or_refuse() -> None:
    api = Api()
    for what, many in (("checks", 900), ("fail_open", 300), ("blocks", 500)):
        api.limits[what].labels("lookup").inc(many)
    before = [api.page()]
    [fine] = sharing.judge_limits(before, before)
    assert fine.level is Level.WELL
    assert "900 checks, 500 refused, 300 without Redis" in fine.seen
    api.limits["checks"].labels("lookup").inc(40)
    api.limits["blocks"].labels("lookup").inc(20)
    assert is_well(sharing.judge_limits(before, [api.page()]))
    api.limits["blocks"].labels("lookup").inc()
    assert names(sharing.judge_limits(before, [api.page()])) == ["limits-refuse"]
    api.limits["fail_open"].labels("lookup").inc()
    assert names(sharing.judge_limits(before, [api.page()])) == ["limits-fail-open", "limits-refuse"]


def test_a_process_that_was_started_anew_counts_from_nothing() -> None:
    old, new = Api(), Api()
    old.serve(50)
    new.serve(3)
    assert between([old.page()], [new.page()], "wishlist_http_requests_total") == 3
    assert between([], [new.page()], "wishlist_http_requests_total") == 3


# --- Processes and renderer ----------------------------------------------------------------------------------------


def test_processes() -> None:
    assert names(processes.judge([])) == ["processes-unnamed"]
    pages = [
        Page("api", "http://a", 200, "ok"),
        Page("persist", "http://b", 200, "healthy"),
        Page("persist", "http://c", 200, "healthy"),
        Page("renderer", "http://d", 503, "unhealthy"),  # it has a check of its own
        Page("dashboard", "http://e", 200),
    ]
    [fine] = processes.judge(pages)
    assert fine == well("answer: api, persist ×2, renderer, dashboard")
    ill = [
        Page("digest", "http://f", reason="connection refused"),
        Page("push", "http://g", 503, "stopped", "1,000 rejects in a row"),
        Page("webhook", "http://h", 503, "stuck", "events[3]: 17 records wait"),
        Page("archive", "http://i", 200, "waiting", "applying a batch: refused"),
        Page("segment", "http://j", 503, "starting", "it has not joined its group yet"),
    ]
    found = list(processes.judge([*pages, *ill]))
    assert names(found) == ["process-away", "group-stopped", "worker-stuck", "worker-waiting", "worker-starting", None]
    assert "1,000 rejects in a row" in found[1].seen
    assert "./run logs digest" in found[0].do


@pytest.mark.parametrize(
    ("pool", "expected"),
    [
        (Pool(True, 6, 6, 0, "ok", 2), None),
        (Pool(True, 6, 1, 5, "ok", 2), None),
        (Pool(True, 6, 0, 6, "ok", 2), "renderer-busy"),
        (Pool(False, 6, 0, 0, "ok", 30), "renderer-unhealthy"),
        (Pool(False, 6, 6, 0, "error", 2), "renderer-unhealthy"),
    ],
)
def test_the_renderers_own_word(pool: Pool, expected: str | None) -> None:
    found = renderer.judge_pool(pool)
    assert found.symptom == expected
    if pool.bucket == "error":
        assert "bucket" in found.seen


def preview_page(state: str) -> Page:
    samples = tuple(
        ("resilience4j_circuitbreaker_state", {"name": "og-renderer-cb", "state": one}, float(one == state))
        for one in ("closed", "open", "half_open")
    )
    return Page("preview", "http://p", 200, samples=samples)


@pytest.mark.parametrize(
    ("forced", "workers", "state", "expected"),
    [
        (False, 0, "closed", None),
        (False, 0, "half_open", None),
        (False, 0, "open", "breaker-open"),
        (False, 2, "closed", "breaker-open"),
        (True, 1, "open", "breaker-forced"),
    ],
)
def test_the_breaker(forced: bool, workers: int, state: str, expected: str | None) -> None:
    assert renderer.judge_breaker(forced, workers, [preview_page("closed"), preview_page(state)]).symptom == expected


@pytest.mark.parametrize(
    ("due", "overdue", "tries", "unpurged", "expected"),
    [
        (40, 60, 4, 1_000, [None]),
        (1, 61, 1, 0, ["previews-waiting"]),
        (1, 1, 5, 0, ["previews-waiting"]),
        (0, 0, 0, 1_001, ["pictures-not-removed"]),
    ],
)
def test_previews(due: int, overdue: float, tries: int, unpurged: int, expected: list[str | None]) -> None:
    assert names(renderer.judge_previews(due, overdue, tries, "status 503", unpurged)) == expected


# --- Rows that wait, letters, archive, warehouse ---------------------------------------------------------------------


@pytest.mark.parametrize(
    "work", [waiting.OUTBOX, waiting.EXPIRIES, *waiting.DIGESTS, *waiting.PUSHES, *waiting.WEBHOOKS, *waiting.ENDED]
)
def test_work_is_late_once_its_time_is_over(work: waiting.Work) -> None:
    assert waiting.judge(work, Waiting(0, 0, 0)).level is Level.WELL
    late = waiting.judge(work, Waiting(3, work.due.seconds + 1, 0))
    assert late.symptom == work.symptom.name
    assert f"{work.due.what}: 3, for " in late.seen
    assert waiting.judge(work, Waiting(3, 0, work.due.tries)).symptom == work.symptom.name
    if work.due.seconds >= 0:
        assert waiting.judge(work, Waiting(3, work.due.seconds, work.due.tries - 1)).level is Level.WELL


def test_letters_are_told_by_group() -> None:
    assert is_well(dead_letters.judge({}))
    [found] = dead_letters.judge({"b": (2, 7_200), "a": (1, 30)})
    assert found.symptom == "dead-letters-open"
    assert found.seen.endswith("1 of a, 2 of b; the oldest is 2 h old")


def test_the_archive() -> None:
    def judged(newest: float | None = 60.0, **odd: int) -> list[str | None]:
        return names(archive.judge(files=3, newest=newest, **{"holes": 0, "unaccounted": 0, "orphans": 0, **odd}))

    assert judged() == judged(None) == [None]
    assert judged(holes=1) == judged(unaccounted=2) == judged(unaccounted=-2) == ["archive-gaps"]
    assert judged(orphans=1) == ["archive-orphans"]
    assert judged(holes=1, orphans=1) == ["archive-gaps", "archive-orphans"]


def test_appends_whose_outcome_nobody_has_asked_for() -> None:
    assert warehouse.judge_appends(2, 300).level is Level.WELL
    assert warehouse.judge_appends(2, 301).symptom == "appends-open"


@pytest.mark.parametrize(
    ("made", "started", "expected"),
    [(9_000, 0, None), (2_801, 0, None), (2_799, 0, "dashboard-old"), (0, 9_000, None), (0, 100, "dashboard-old")],
)
def test_the_dashboards_age(made: float, started: float, expected: str | None) -> None:
    samples: tuple[Sample, ...] = (
        ("wishlist_dashboard_timestamp_seconds", {}, made),
        ("process_start_time_seconds", {}, started),
    )
    # Every process has the gauge; only its maker's counts.
    others: tuple[Sample, ...] = (("wishlist_dashboard_timestamp_seconds", {}, 0.0),)
    pages = [Page("api", "http://a", 200, samples=others), Page("dashboard", "http://d", 200, samples=samples)]
    assert warehouse.judge_dashboard(pages, every=3_600, now=10_000).symptom == expected


# --- Clocks ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("reading", "is_off"),
    [
        (Reading("Redis", 2.0, 0.0), False),
        (Reading("Redis", 2.1, 0.0), True),
        (Reading("Redis", -2.1, 0.0), True),
        # An answer that took four seconds proves nothing about one.
        (Reading("Redis", 3.0, 2.0), False),
        (Reading("Redis", -3_600, 2.0), True),
    ],
)
def test_clocks(reading: Reading, is_off: bool) -> None:
    found = clocks.judge([Reading("PostgreSQL", 0.1), reading], newest=-5)
    assert names(found) == (["clock-off"] if is_off else [None])
    if is_off:
        assert "Redis" in found[0].seen
        assert "PostgreSQL" not in found[0].seen


def test_records_from_the_future() -> None:
    assert names(clocks.judge([Reading("Redis", 0)], newest=2.1)) == ["records-from-the-future"]
    assert is_well(clocks.judge([Reading("Redis", 0)], newest=2.0))
    assert is_well(clocks.judge([Reading("Redis", 0)], newest=None))


async def test_a_clock_is_read_against_the_middle_of_the_question() -> None:
    async def an_hour_ahead() -> float:
        await asyncio.sleep(0.1)
        return time.time() + 3_600

    found = await clocks.read("Redis", an_hour_ahead)
    assert abs(found.ahead - 3_600) < 1
    assert found.error >= 0.05
    assert found.surely > 3_500


@pytest.mark.parametrize(
    ("gauge", "date", "took", "ahead", "is_off"),
    [
        (1_000.0, None, 0.2, -0.1, False),
        (1_000.0 + 2.5, None, 0.2, 2.4, True),
        (1_000.0 - 2.5, None, 0.2, -2.6, True),
        # Asked at 1,000 and answered 6 s later, the clock was read somewhere in between.
        (1_000.0, None, 6.0, -3, False),
        (1_006.0, None, 6.0, 3, False),
        (1_010.0, None, 6.0, 7, True),
        # The gauge is newer than the header, which a busy server wrote some seconds ago.
        (1_000.0, 997, 0.2, -0.1, False),
        (None, 1_000, 0.2, 0.4, False),
        (None, 998, 0.2, -1.6, False),
        (None, 997, 2.0, -3.5, False),
        (None, 995, 0.2, -4.6, True),
        (None, 1_004, 0.2, 4.4, True),
    ],
)
def test_a_pages_clock_is_as_sure_as_its_answer_was_quick(
    gauge: float | None, date: int | None, took: float, ahead: float, is_off: bool
) -> None:
    samples: list[Sample] = [] if gauge is None else [("wishlist_clock_timestamp_seconds", {}, gauge)]
    header = None if date is None else formatdate(date, usegmt=True)
    found, error = clock_of(samples, header, 1_000, 1_000 + took)
    assert found == pytest.approx(ahead)
    assert names(clocks.judge([Reading("api", found or 0, error)], None)) == (["clock-off"] if is_off else [None])


def test_a_page_that_tells_no_time_is_no_reading() -> None:
    assert clock_of([], None, 1_000, 1_001) == (None, 0.0)


# --- Processors -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("waiting", "stolen", "expected"),
    [(0.0, 0.0, None), (0.80, 0.10, None), (0.81, 0.0, "cpu-short"), (0.1, 0.11, "cpu-short")],
)
def test_processors(waiting: float, stolen: float, expected: str | None) -> None:
    found = cpu.judge(waiting, stolen, 41.5, 2, 0.8)
    assert found.symptom == expected
    assert "load 41.5 on 2 processors" in found.seen


def test_how_short_processors_are_is_read_from_the_kernel(tmp_path: Path) -> None:
    pressure, stat = tmp_path / "pressure", tmp_path / "stat"
    stat.write_text("cpu  100 0 100 700 0 0 50 50 0 0\ncpu0 1 1\n")
    pressure.write_text("some avg10=91.00 avg60=62.50 avg300=40.00 total=7000000\nfull avg10=0.00 total=0\n")
    before = read_cpu(pressure, stat)
    assert (before.waited, before.waiting_now, before.stolen, before.ticks) == (7.0, 0.625, 50, 1_000)
    after = replace(before, at=before.at + 10, waited=16.0, stolen=150, ticks=1_500)
    assert waiting_between(before, after) == pytest.approx(0.9)
    assert stolen_between(before, after) == 0.2
    # An older kernel: only the load speaks of it.
    old = replace(before, waited=None, load=40.0, processors=2)
    assert waiting_between(old, old) == pytest.approx(0.95)
    assert waiting_between(replace(old, load=1.0), replace(old, load=1.0)) == 0
    assert read_cpu(tmp_path / "none", tmp_path / "none").waited is None


def test_the_suite_says_whether_the_machine_was_starved() -> None:
    before = CpuReading(0, waited=0, waiting_now=0, stolen=0, ticks=0, load=1, processors=2)
    fine = replace(before, at=100, waited=90, ticks=1_000, stolen=100)
    assert cpu_summary(before, fine).startswith("machine not starved: some task waited for a processor 90% ")
    assert "STARVED" in cpu_summary(before, replace(fine, waited=91))
    assert "STARVED" in cpu_summary(before, replace(fine, stolen=101))


# --- Words -----------------------------------------------------------------------------------------------------------


def test_times_in_words() -> None:
    assert [ago(seconds) for seconds in (0.4, 89, 90, 7_200, 172_800)] == ["0 s", "89 s", "2 min", "2 h", "2 days"]


@pytest.mark.parametrize("value", ["api", "api=", "api=ftp://x", "=http://x", "api=http://x,,b=http://y"])
def test_processes_that_cannot_be_meant(value: str) -> None:
    with pytest.raises(ValidationError):
        DoctorSettings(processes=value)


def test_processes_by_name() -> None:
    settings = DoctorSettings(processes=" api=http://a:1/ , persist=http://b:2,persist=https://c:3 ", disks="/, /data")
    assert settings.named_processes == (("api", "http://a:1"), ("persist", "http://b:2"), ("persist", "https://c:3"))
    assert settings.folders == ("/", "/data")
