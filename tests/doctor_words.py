"""What `wishlist doctor --json` has said, held against its runbook."""

from __future__ import annotations

import re
from typing import Any

from tests.lab import ROOT

_RUNBOOK = (ROOT / "docs" / "runbook.md").read_text()


def symptoms(said: dict[str, Any]) -> dict[str, str]:
    """What was seen of each symptom. Each is in the runbook, in the same words; no check has failed itself."""
    assert not [one for one in said["findings"] if "the check itself failed" in one["seen"]]
    found = {one["symptom"]: one for one in said["findings"] if one["symptom"]}
    for name, one in found.items():
        section = _RUNBOOK.partition(f"\n### {name}\n")[2].partition("\n#")[0]
        assert f"- **Users**: {one['users']}" in section
        says = re.search(r", (?:broken|look): (.*)\.$", section, re.MULTILINE)
        assert says is not None
        assert one["seen"].startswith(says[1])
    return {name: one["seen"] for name, one in found.items()}


def unknown(said: dict[str, Any]) -> set[str]:
    """The checks that say that they do not know."""
    return {one["check"] for one in said["findings"] if one["level"] == "unknown"}
