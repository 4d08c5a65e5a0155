"""Drawing without a browser in a process of its own: it holds Python's lock for as long as a card takes, and fonts."""

from __future__ import annotations

import asyncio
import contextlib
import struct
import sys
from asyncio.subprocess import PIPE, Process
from typing import Any

import orjson

ANSWER = struct.Struct(">?I")
"""Whether a picture follows, and its size in bytes."""
NICER = 10
"""Added to the caller's own niceness: a card that stands in comes after what its machine does otherwise."""


class NotDrawn(RuntimeError):
    """There is no picture, with the reason."""


class DrawingProcess:
    """Starts when first asked, comes back after it was lost, ends with its parent. For one caller at a time."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._process: Process | None = None

    async def draw(self, card: dict[str, Any]) -> bytes:
        """A PNG of *card* (:func:`cards.card.page_data`); :class:`NotDrawn` if there is none within the seconds."""
        try:
            async with asyncio.timeout(self._seconds):
                return await self._ask(orjson.dumps(card))
        except NotDrawn:
            raise
        except Exception as error:  # A card that is no JSON, a lost process, or an answer that is none.
            await self.aclose()
            raise NotDrawn(f"{type(error).__name__}: {error}") from error
        except asyncio.CancelledError:
            # Its answer would be taken for that to the next question.
            await self.aclose()
            raise

    async def aclose(self) -> None:
        """End it."""
        process, self._process = self._process, None
        if process is not None:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            await process.wait()

    async def _ask(self, line: bytes) -> bytes:
        if self._process is None or self._process.returncode is not None:
            self._process = await asyncio.create_subprocess_exec(sys.executable, "-m", "cards", stdin=PIPE, stdout=PIPE)
        asked, answers = self._process.stdin, self._process.stdout
        assert asked is not None and answers is not None
        asked.write(line + b"\n")
        await asked.drain()
        drawn, size = ANSWER.unpack(await answers.readexactly(ANSWER.size))
        answer = await answers.readexactly(size)
        if not drawn:
            raise NotDrawn(answer.decode("utf-8", "replace"))
        return answer
