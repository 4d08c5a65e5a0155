"""`./run status` on a terminal of any width."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import Any

import pytest

ADDRESS = "postgresql://wishlist:a-secret-of-32-characters-or-so@127.0.0.1:27864/wishlist"
FINE: dict[str, Any] = {"address": ADDRESS, "pid": 4_194_304, "healthy": True, "restarts": 0, "given_up": False}
ILL = {"address": "https://127.0.0.1:20057", "pid": 12, "healthy": False, "restarts": 2}
GONE = {"address": "http://127.0.0.1:30017", "pid": None, "healthy": False, "restarts": 5, "given_up": True}
REPORT = {"postgres": FINE, "push_services": {**FINE, **ILL}, "dead_letters": GONE}
PRINT = f"""
import sys
from unittest.mock import patch
sys.argv = ["run", "status"]
from ops.stack import manager
with patch.object(manager, "status", lambda state: {REPORT!r}):
    import ops.stack.__main__
"""


@pytest.mark.parametrize("columns", [40, 80, 200])
def test_no_port_is_cut(columns: int, tmp_path: Any) -> None:
    env = {**os.environ, "COLUMNS": str(columns), "WISHLIST_STATE": str(tmp_path)}
    done = subprocess.run([sys.executable, "-c", PRINT], env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 1, done.stderr
    lines = done.stdout.splitlines()
    assert lines[0].split() == ["postgres", ADDRESS, "4194304", "healthy"]
    assert lines[1].split() == ["push_services", "https://127.0.0.1:20057", "12", "not", "healthy"]
    assert lines[2].split() == ["dead_letters", "http://127.0.0.1:30017", "not", "running"]
    assert lines[3:] == [
        "push_services was restarted 2×",
        "dead_letters is given up after 5 restarts: ./run logs supervisor",
    ]
