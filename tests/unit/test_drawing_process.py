"""The process that draws cards without a browser: it answers, it comes back, it leaves nothing behind."""

from __future__ import annotations

import io
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import aclosing
from pathlib import Path

import orjson
import psutil
import pytest
from PIL import Image

from cards.card import GENERIC_CARD
from cards.process import DrawingProcess, NotDrawn

ROOT = Path(__file__).parents[2]


@pytest.fixture
async def process() -> AsyncIterator[DrawingProcess]:
    async with aclosing(DrawingProcess(60.0)) as process:
        yield process


def child() -> psutil.Process:
    (found,) = [one for one in psutil.Process().children() if one.cmdline()[1:] == ["-m", "cards"]]
    return found


async def test_a_card_that_cannot_be_drawn_is_told_apart_and_the_next_one_is_drawn(process: DrawingProcess) -> None:
    with pytest.raises(NotDrawn, match="KeyError"):
        await process.draw({"theme": "no such theme"})
    with Image.open(io.BytesIO(await process.draw(GENERIC_CARD))) as picture:
        assert (picture.format, picture.size) == ("PNG", (1200, 630))


async def test_it_yields_to_its_parent_and_comes_back_when_it_was_killed(process: DrawingProcess) -> None:
    first = await process.draw(GENERIC_CARD)
    assert child().nice() > psutil.Process().nice()
    child().kill()
    with pytest.raises(NotDrawn):
        await process.draw(GENERIC_CARD)
    assert await process.draw(GENERIC_CARD) == first


async def test_a_card_that_takes_too_long_is_given_up_and_its_answer_never_taken_for_another() -> None:
    async with aclosing(DrawingProcess(0.05)) as process:
        with pytest.raises(NotDrawn, match="TimeoutError"):
            await process.draw(GENERIC_CARD)
        assert not [one for one in psutil.Process().children() if one.cmdline()[1:] == ["-m", "cards"]]


def test_it_ends_with_whoever_started_it() -> None:
    ended = subprocess.run([sys.executable, "-m", "cards"], cwd=ROOT, input=b"", capture_output=True, timeout=60)
    assert (ended.returncode, ended.stdout) == (0, b"")


def test_it_ends_without_a_word_when_whoever_asked_is_gone() -> None:
    process = subprocess.Popen(
        [sys.executable, "-m", "cards"], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    assert process.stdin and process.stdout and process.stderr
    process.stdout.close()
    process.stdin.write(orjson.dumps(GENERIC_CARD) + b"\n")
    process.stdin.close()
    assert process.wait(60) == 0
    assert process.stderr.read() == b""
    process.stderr.close()
