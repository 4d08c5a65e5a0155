"""Tests that need real parts find them through the state folder of `./run up parts`."""

from __future__ import annotations

import json
import os
from pathlib import Path

from hypothesis import HealthCheck, settings

ROOT = Path(__file__).parent.parent
STATE = Path(os.environ.get("WISHLIST_STATE", ROOT / ".state"))

if (STATE / "env.json").exists():
    os.environ.update(json.loads((STATE / "env.json").read_text()))

# Tests assert behaviour, not time: the first text drawn on a fresh machine builds Unicode tables for over a second.
settings.register_profile("untimed", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("untimed")
