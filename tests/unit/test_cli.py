"""``wishlist`` finds each of its commands, and loads no other's libraries for it."""

from __future__ import annotations

import subprocess
import sys

import pytest
from typer.testing import CliRunner

from ops.cli import COMMANDS, app


@pytest.mark.parametrize("name", COMMANDS)
def test_each_command_tells_of_itself(name: str) -> None:
    said = CliRunner().invoke(app, [name, "--help"], prog_name="wishlist")
    assert said.exit_code == 0, said.output
    assert f"wishlist {name}" in said.output
    assert "install-completion" not in said.output


def test_the_help_has_every_command_with_a_word_on_it() -> None:
    said = CliRunner().invoke(app, ["--help"], env={"COLUMNS": "120"})
    lines = {line.split()[1]: line.split()[2:-1] for line in said.output.splitlines() if line.startswith("│ ")}
    assert set(COMMANDS) <= set(lines)
    assert all(len(lines[name]) > 2 for name in COMMANDS), lines


def test_an_unknown_command_is_named() -> None:
    said = CliRunner().invoke(app, ["docter"])
    assert said.exit_code == 2
    assert "docter" in said.output and "Did you mean 'doctor'" in said.output


def test_a_command_waits_for_no_other_ones_libraries() -> None:
    look = "import sys; from ops.cli import app; app(['token', '--help'], standalone_mode=False); print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", look], capture_output=True, text=True, check=True)
    assert not {"boto3", "faust", "google.cloud.bigquery", "redis"} & set(done.stdout.split())
