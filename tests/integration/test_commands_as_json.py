"""Commands that scripts read: with --json all of their standard output is one JSON object."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent.parent


def run(*words: str, code: int = 0) -> dict[str, Any]:
    done = subprocess.run(
        [sys.executable, "-m", "ops.cli", *words, "--json"],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        stdin=subprocess.DEVNULL,
        check=False,
    )
    assert done.returncode == code, done.stderr
    said: dict[str, Any] = json.loads(done.stdout)
    return said


def test_archive() -> None:
    days = run("archive", "list")["days"]
    assert all({"topic", "day", "files", "events", "erased", "bytes"} == set(day) for day in days)
    assert run("archive", "verify", "--since", "2999-01-01")["whole"] is True


def test_erase_counts_each_store() -> None:
    said = run("erase", "user_maya", "--dry-run")
    assert said["complete"] is True
    counted = {one["store"]: one["entries"] for one in said["people"]["user_maya"]}
    assert set(counted) == {"postgres", "links", "pictures", "archive", "bigquery"}
    assert counted["postgres"] > 0


def test_nobody_is_erased_without_being_asked_for() -> None:
    assert run("erase", "user_maya", code=2)["complete"] is False
    assert run("erase", "user_nobody_at_all", code=1)["said"] == ["user_nobody_at_all is nobody that we know"]
