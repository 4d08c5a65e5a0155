"""What the checks found, in a terminal and as JSON."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from ops.dead_letters.showing import numbered, printable
from ops.doctor.examination import Result
from ops.doctor.finding import Finding, Level

_LOOKS = {
    Level.BROKEN: ("✗", "bold red"),
    Level.LOOK: ("!", "yellow"),
    Level.UNKNOWN: ("?", "magenta"),
    Level.WELL: ("✓", "green"),
}


def table(results: Sequence[Result]) -> RenderableType:
    """All of *results*, which come worst first; who waits for the same part shares a row."""
    grid = Table(box=None, padding=(0, 1, 0, 0), expand=True, show_header=False)
    grid.add_column(no_wrap=True, width=1)
    grid.add_column(no_wrap=True, min_width=10)
    grid.add_column(ratio=1, overflow="fold")
    bad = False
    for name, words, finding in _rows(results):
        mark, style = _LOOKS[finding.level]
        if bad and finding.level is Level.WELL:
            grid.add_row()
        bad = finding.level is not Level.WELL
        grid.add_row(Text(mark, style), Text(name, style), words)
    return Group(grid, Text(), _verdict(results))


def as_json(results: Sequence[Result]) -> str:
    """The same for scripts: the worst level, and each finding."""
    worst = max((result.finding.level for result in results), default=Level.WELL)
    findings = [
        {
            "check": result.check.name,
            "level": result.finding.level.name.lower(),
            "symptom": result.finding.symptom,
            "seen": result.finding.seen,
            "users": result.finding.users or None,
            "do": result.finding.do or None,
        }
        for result in results
    ]
    return json.dumps({"level": worst.name.lower(), "findings": findings}, indent=2, ensure_ascii=False)


def _rows(results: Sequence[Result]) -> Iterable[tuple[str, Text, Finding]]:
    waiting: dict[str, list[str]] = {}
    for result in results:
        if result.waits_for is not None:
            waiting.setdefault(result.waits_for, []).append(result.check.name)
    for result in results:
        finding, part = result.finding, result.waits_for
        if part is None or len(waiting[part]) == 1:
            yield result.check.name, _words(finding), finding
        elif waiting[part][0] == result.check.name:
            names = waiting[part]
            yield f"{len(names)} checks", Text.assemble((", ".join(names), "magenta"), "\n", _words(finding)), finding


def _words(finding: Finding) -> Text:
    text = Text(printable(finding.seen))
    if finding.users:
        text.append("\nusers: ", "dim").append(finding.users)
    if finding.do:
        text.append("\ndo:    ", "dim").append(printable(finding.do), "bold")
    return text


def _verdict(results: Sequence[Result]) -> Text:
    bad = [result for result in results if result.finding.level is not Level.WELL]
    if not bad:
        return Text(f"All is well: {numbered(len({result.check.name for result in results}), 'check')}.", "green")
    counts = ", ".join(
        f"{many} {level.name.lower()}"
        for level in (Level.BROKEN, Level.LOOK, Level.UNKNOWN)
        if (many := sum(result.finding.level is level for result in bad))
    )
    return Text.assemble((f"{counts}. ", "yellow"), ("More on each: docs/runbook.md", "dim"))
