"""Tests that need real parts find them through the state folder of `./run up parts`."""

from __future__ import annotations

import json
import os
from pathlib import Path

ROOT = Path(__file__).parent.parent
STATE = Path(os.environ.get("WISHLIST_STATE", ROOT / ".state"))

if (STATE / "env.json").exists():
    os.environ.update(json.loads((STATE / "env.json").read_text()))
