"""Every command with every service that it asks away, one at a time: sentence, limit, exit code, no traceback.

`wishlist doctor` has tests of its own (test_doctor.py): what is away is what it is for.
"""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent.parent
# A service that hangs is the harder case; the long form has it refuse connections too.
HOW = ["hung", "closed"][: int(os.environ.get("FAULT_OUTAGE_KINDS", "1"))]
# With this the longest of them, erase, asks three others first.
WAREHOUSE_SECONDS = "3"
LIMIT_SECONDS = 30.0
NOBODY = "wl_nobody_has_this"
# What is said of each service, and the setting that it names.
SAID = {
    "postgres": ("PostgreSQL cannot be reached", "POSTGRES_DSN"),
    "kafka": ("Kafka cannot be reached", "KAFKA_BOOTSTRAP_SERVERS"),
    "redis": ("Redis cannot be reached", "REDIS_URL"),
    "bucket": ("The bucket cannot be reached", "R2_ENDPOINT_URL"),
    "queue": ("The queue cannot be reached", "SQS_ENDPOINT_URL"),
    "bigquery": ("BigQuery", ""),
    "api": ("The API cannot be reached", "API_PORT"),
}
# Command, service, exit code. 0: what is left is shown, and the rest named. 3: to be asked again later.
TABLE = [
    ("archive list", "postgres", 1),
    ("archive verify --json", "postgres", 1),
    (f"delete {NOBODY} --yes", "postgres", 1),
    ("dlq list", "postgres", 0),
    ("dlq list", "kafka", 0),
    ("dlq redrive --all --yes", "postgres", 1),
    ("erase user_maya --dry-run", "postgres", 1),
    ("erase user_maya --dry-run", "redis", 3),
    ("erase user_maya --dry-run", "bigquery", 3),
    ("erase user_maya --dry-run --json", "redis", 3),
    ("ledger", "postgres", 1),
    ("migrate", "postgres", 1),
    ("migrate", "bucket", 1),
    ("migrate", "queue", 1),
    ("migrate", "bigquery", 1),
    ("previews --live", "redis", 1),
    ("replay persist --dry-run", "postgres", 1),
    ("replay persist --dry-run", "kafka", 1),
    ("rollback --above 100000", "postgres", 1),
    ("seed", "postgres", 1),
    ("simulate --events 3", "postgres", 1),
    ("simulate --events 3", "kafka", 1),
    ("simulate --events 3 --through api", "api", 1),
    ("sweep", "postgres", 1),
    ("topics", "kafka", 1),
    ("webhook show", "postgres", 1),
]
CASES = [(*row, how) for row in TABLE for how in HOW]


@dataclass(frozen=True)
class Answer:
    """How a command ended."""

    code: int
    out: str
    err: str
    seconds: float


def settings_without(service: str, port: int) -> dict[str, str]:
    at = f"127.0.0.1:{port}"
    return {
        "postgres": {"POSTGRES_DSN": f"postgresql://somebody:secret@{at}/wishlist"},
        "kafka": {"KAFKA_BOOTSTRAP_SERVERS": at},
        "redis": {"REDIS_URL": f"redis://{at}/0"},
        "bucket": {"R2_ENDPOINT_URL": f"http://{at}"},
        "queue": {"SQS_ENDPOINT_URL": f"http://{at}"},
        "bigquery": {"BIGQUERY_ENDPOINT": f"http://{at}", "BIGQUERY_STORAGE_ENDPOINT": at},
        "api": {"API_PORT": str(port)},
    }[service]


def run(command: str, settings: dict[str, str]) -> Answer:
    began = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-m", "ops.cli", *command.split()],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT), "BIGQUERY_TIMEOUT_SECONDS": WAREHOUSE_SECONDS, **settings},
        capture_output=True,
        stdin=subprocess.DEVNULL,
        text=True,
        check=False,
        timeout=120,
    )
    return Answer(done.returncode, done.stdout, done.stderr, time.monotonic() - began)


@pytest.fixture(scope="module")
def answers() -> Iterator[dict[tuple[str, str, int, str], Future[Answer]]]:
    """All at once, a few at a time: most of their time is waiting."""
    with socket.socket() as hung, socket.socket() as closed, ThreadPoolExecutor(8) as pool:
        hung.bind(("127.0.0.1", 0))
        hung.listen(512)
        closed.bind(("127.0.0.1", 0))
        ports = {"hung": hung.getsockname()[1], "closed": closed.getsockname()[1]}
        yield {case: pool.submit(run, case[0], settings_without(case[1], ports[case[3]])) for case in CASES}


@pytest.mark.timeout(300)
@pytest.mark.parametrize(("command", "service", "code", "how"), CASES)
def test_it_says_what_is_away(
    answers: dict[tuple[str, str, int, str], Future[Answer]], command: str, service: str, code: int, how: str
) -> None:
    answer = answers[command, service, code, how].result()
    said = " ".join((answer.out + answer.err).split())
    assert answer.code == code, said
    # What goes on without it names the service alone.
    for word in SAID[service] if code == 1 else SAID[service][:1]:
        assert word in said
    for noise in ("Traceback", "%3|", "rdkafka#", "Task exception", "never retrieved"):
        assert noise not in said
    assert answer.seconds < LIMIT_SECONDS
    if code == 1:
        assert len(answer.err.strip().splitlines()) == 1, answer.err


@pytest.mark.parametrize("command", ["--help", "--version", "token user_maya", "erase --help", "dlq --help"])
def test_who_asks_no_service_needs_none(command: str) -> None:
    away = {name: value for service in SAID for name, value in settings_without(service, 1).items()}
    answer = run(command, away)
    assert answer.code == 0 and answer.out and not answer.err


def test_a_store_that_is_away_is_not_counted_as_empty(
    answers: dict[tuple[str, str, int, str], Future[Answer]],
) -> None:
    answer = answers["erase user_maya --dry-run", "redis", 3, "hung"].result()
    counts = {line.split()[0]: line.split()[1] for line in answer.out.splitlines() if len(line.split()) > 1}
    assert counts["links"] == "?"
    assert counts["pictures"].isdigit()
