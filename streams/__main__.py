"""``python -m streams NAME``: run the worker of one agent."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path

AGENTS = sorted(path.stem for path in Path(__file__).parent.glob("*.py") if "\napp = " in path.read_text())


def main() -> None:
    """Start the agent named on the command line."""
    if len(sys.argv) != 2 or sys.argv[1] not in AGENTS:
        sys.exit(f"usage: python -m streams NAME, where NAME is one of {', '.join(AGENTS)}")
    name = sys.argv[1]
    app = importlib.import_module(f"streams.{name}").app
    sys.argv = ["faust", "--quiet", "worker", "--without-web", "--loglevel", "warn"]
    app.main()


main()
