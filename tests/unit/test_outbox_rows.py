"""What becomes of the rows of a batch that fails, and how long a row waits for its next attempt."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations

import asyncpg
import pytest

from clients.faults import Unavailable
from clients.outbox_rows import Done, Failed, Later, Outcome, attempt, pause_seconds, printable


class Handler:
    """Does rows, but for the bad ones; counts the calls in which each row took part."""

    def __init__(self, bad: dict[int, Exception]) -> None:
        self.bad = bad
        self.calls: list[list[int]] = []

    async def __call__(self, rows: Sequence[int]) -> Sequence[Outcome]:
        self.calls.append(list(rows))
        for row in rows:
            if row in self.bad:
                raise self.bad[row]
        return [Done(row) for row in rows]


@pytest.mark.parametrize("size", [1, 2, 3, 10, 17])
@pytest.mark.parametrize("many", [1, 2])
async def test_only_the_bad_rows_fail_wherever_they_stand(size: int, many: int) -> None:
    for bad in combinations(range(size), min(many, size)):
        handler = Handler({row: ValueError(f"row {row}") for row in bad})
        outcomes = await attempt(range(size), handler)
        assert [one.result for one in outcomes if isinstance(one, Done)] == [n for n in range(size) if n not in bad]
        assert [n for n, one in enumerate(outcomes) if isinstance(one, Failed)] == list(bad)
        for n in bad:
            failed = outcomes[n]
            assert isinstance(failed, Failed)
            assert failed.reason == f"ValueError: row {n}"
            assert "Traceback" in failed.traceback
        assert len(handler.calls) <= 1 + 2 * len(bad) * size.bit_length(), "halved, not tried one by one"


@pytest.mark.parametrize(
    "outage",
    [Unavailable("the queue", "away"), TimeoutError("slow"), ConnectionResetError(), asyncpg.DeadlockDetectedError("")],
    ids=lambda error: type(error).__name__,
)
async def test_an_outage_is_no_rows_fault_and_halves_nothing(outage: Exception) -> None:
    handler = Handler({3: outage})
    outcomes = await attempt(range(10), handler)
    assert all(isinstance(one, Later) for one in outcomes)
    assert len(handler.calls) == 1


async def test_an_outage_in_one_half_leaves_the_other_done() -> None:
    handler = Handler({0: ValueError("bad"), 7: Unavailable("the queue", "away")})
    outcomes = await attempt(range(8), handler)
    kinds = [type(one) for one in outcomes]
    assert kinds == [Failed, Done, Done, Done, Later, Later, Later, Later]


async def test_a_handler_that_forgets_a_row_is_a_defect() -> None:
    async def forgets(rows: Sequence[int]) -> Sequence[Outcome]:
        return [Done()] * (len(rows) - 1)

    outcomes = await attempt([1, 2], forgets)
    assert all(isinstance(one, Failed) and "outcomes" in one.reason for one in outcomes)


@pytest.mark.parametrize(
    ("attempts", "longest", "cap"), [(0, 60, 1), (1, 60, 2), (5, 60, 32), (6, 60, 60), (1_000, 60, 60), (3, 0, 0)]
)
def test_pauses_are_random_below_a_cap_that_doubles(attempts: int, longest: float, cap: float) -> None:
    found = [pause_seconds(attempts, longest) for _ in range(500)]
    assert min(found) >= 0 and max(found) <= cap
    assert cap == 0 or max(found) - min(found) > cap / 2, "full jitter"


@pytest.mark.parametrize(("asked", "seconds"), [(0.0, 0.0), (120.0, 120.0), (86_400.0, 3_600.0), (1e9, 3_600.0)])
def test_what_the_other_side_asked_for_is_kept_up_to_an_hour(asked: float, seconds: float) -> None:
    assert pause_seconds(3, 60, asked) == seconds


@pytest.mark.parametrize(
    ("text", "said"),
    [("plain", "plain"), ("a\0b", "a\\x00b"), ("lone \ud800", "lone \\ud800"), ("emoji 🎁", "emoji 🎁"), ("", "")],
)
def test_a_reason_is_text_that_postgresql_takes(text: str, said: str) -> None:
    assert printable(text) == said
    assert (printable(text).encode() and "\0" not in printable(text)) or text == ""
