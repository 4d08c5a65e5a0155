"""``python -m tests.hung_fetcher AGENT``: the agent's worker, whose fetches get no more answers once a file is there.

``HUNG_FETCHER_FILE`` names it. All else goes on: the group has its heartbeats, the brokers' answers to everything else
arrive. So it was after a machine had stood still for minutes.
"""

from __future__ import annotations

import asyncio
import os
import runpy
from pathlib import Path
from typing import Any

from aiokafka.consumer.fetcher import Fetcher

_TRIGGER = Path(os.environ["HUNG_FETCHER_FILE"])
_fetch = Fetcher._proc_fetch_request


def _is_hung() -> bool:
    return _TRIGGER.exists()


async def _fetch_or_hang(self: Fetcher, *request: Any) -> bool:
    if _is_hung():
        await asyncio.Event().wait()
    fetched: bool = await _fetch(self, *request)
    return fetched


Fetcher._proc_fetch_request = _fetch_or_hang
runpy.run_module("streams", run_name="__main__")
