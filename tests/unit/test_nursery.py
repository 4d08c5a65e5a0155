"""Processes out of the nursery are processes of their own, in all that matters."""

from __future__ import annotations

import json
import time
from pathlib import Path

import psutil

from ops.stack.nursery import Nursery, Seedling


def ended(pid: int) -> bool:
    try:
        return bool(psutil.Process(pid).status() == psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return True


def grown(*seedlings: Seedling) -> list[str]:
    """What each has written, once it has ended."""
    pids = Nursery().start(seedlings)
    give_up = time.monotonic() + 30
    while not all(map(ended, pids)):
        assert time.monotonic() < give_up, "they do not end"
        time.sleep(0.05)
    return [Path(one.log).read_text() for one in seedlings]


def test_each_has_its_own_environment_log_session_niceness_and_chance(tmp_path: Path) -> None:
    one, two = map(
        json.loads,
        grown(
            Seedling(["tests.seedling", "works"], {"COLOUR": "red"}, str(tmp_path / "one.log"), 0),
            Seedling(["tests.seedling", "fails"], {"COLOUR": "blue"}, str(tmp_path / "two.log"), 19),
        ),
    )
    assert (one["words"], one["colour"]) == (["works"], "red")
    assert (two["words"], two["colour"], two["nice"]) == (["fails"], "blue", 19)
    for said in (one, two):
        assert said["leads_its_session"]
        assert said["threads"] == 1
        assert said["stdin"] == ""
    assert not set(one["chance"]) & set(two["chance"])


def test_what_cannot_be_started_says_so_in_its_log(tmp_path: Path) -> None:
    [said] = grown(Seedling(["no_such_module"], {}, str(tmp_path / "log"), 0))
    assert "no_such_module" in said
