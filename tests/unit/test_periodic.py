"""The loop of every periodic job: no exception ends it, and the board says which jobs fail."""

from __future__ import annotations

import asyncio

import asyncpg
import pytest

from clients.faults import Unavailable
from clients.periodic import JobBoard, every, is_passing


@pytest.fixture
def pauses(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The pauses that the loop asked for; nothing sleeps."""
    taken: list[float] = []

    async def sleep(seconds: float) -> None:
        taken.append(seconds)

    monkeypatch.setattr("clients.periodic.asyncio.sleep", sleep)
    monkeypatch.setattr("clients.periodic.random.uniform", lambda low, high: high)
    return taken


async def runs(outcomes: list[object], board: JobBoard, seconds: float = 30.0, retry: float = 1.0) -> None:
    """Run a job that ends in each of *outcomes* in turn, an exception or a value, and is then cancelled."""
    left = list(outcomes)

    async def work() -> object:
        if not left:
            raise asyncio.CancelledError
        outcome = left.pop(0)
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    with pytest.raises(asyncio.CancelledError):
        await every(seconds, work, name="job", board=board, retry_seconds=retry)


async def test_it_works_every_so_often_and_at_once_where_there_is_more(pauses: list[float]) -> None:
    board = JobBoard()
    await runs([None, 7, {"swept": 3}, True, False], board)
    assert pauses == [30, 30, 30, 0, 30], "a count is no sign of more"
    assert board.failing == {}


async def test_an_outage_is_retried_soon(pauses: list[float]) -> None:
    board = JobBoard()
    await runs(
        [Unavailable("Redis", "away"), asyncpg.TooManyConnectionsError("53300"), TimeoutError()], board, retry=5.0
    )
    assert pauses == [5, 5, 5]
    assert board.failing == {"job": "TimeoutError: "}


@pytest.mark.parametrize("error", [ValueError("a defect"), RecursionError(), ExceptionGroup("two", [KeyError(1)])])
async def test_a_defect_is_tried_again_with_growing_pauses(pauses: list[float], error: Exception) -> None:
    board = JobBoard()
    await runs([error] * 12, board)
    assert pauses == [2, 4, 8, 16, 32, 64, 128, 256, 300, 300, 300, 300]
    assert board.failing["job"].startswith(type(error).__name__)


async def test_a_success_ends_the_failures(pauses: list[float]) -> None:
    board = JobBoard()
    await runs([ValueError(), ValueError(), None, ValueError()], board)
    assert pauses == [2, 4, 30, 2]
    await runs([ValueError(), None], board)
    assert board.failing == {}


async def test_an_outage_makes_no_later_defect_wait_longer(pauses: list[float]) -> None:
    await runs([Unavailable("Kafka", "away")] * 8 + [ValueError()], JobBoard())
    assert pauses == [1] * 8 + [2]


def test_the_board_keeps_jobs_apart_and_its_answer_short() -> None:
    board = JobBoard()
    board.note_failure("one", ValueError("x" * 10_000))
    board.note_failure("two", KeyError("k"))
    board.note_success("two")
    assert list(board.failing) == ["one"]
    assert len(board.failing["one"]) == 500


@pytest.mark.parametrize(
    ("error", "passing"),
    [(Unavailable("Kafka", "away"), True), (ConnectionRefusedError(), True), (asyncpg.CheckViolationError(""), False),
     (asyncpg.UndefinedTableError(""), False), (ValueError(), False), (KeyError(), False)],
    ids=lambda value: type(value).__name__,
)  # fmt: skip
def test_what_passes(error: Exception, passing: bool) -> None:
    assert is_passing(error) is passing
