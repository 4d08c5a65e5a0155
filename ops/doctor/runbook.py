"""The symptoms as a page: what docs/runbook.md says of each is what the command says of it."""

from __future__ import annotations

from collections.abc import Iterator
from string import Formatter

from ops.doctor.checks import FAMILIES
from ops.doctor.finding import Check, Symptom


def sections() -> Iterator[str]:
    """Markdown, a section for each family of checks."""
    for title, checks in FAMILIES.items():
        yield f"## {title}"
        yield ""
        for check in checks:
            yield f"Check `{check.name}`: {check.at}."
            yield ""
        symptoms = {symptom.name: (check, symptom) for check in checks for symptom in check.every_symptom}
        for check, symptom in symptoms.values():
            yield from _section(check, symptom)


def _section(check: Check, symptom: Symptom) -> Iterator[str]:
    words = {name: name.upper() for _, name, _, _ in Formatter().parse(symptom.do) if name}
    yield f"### {symptom.name}"
    yield ""
    yield f"- **Doctor**, check `{check.name}`, {'broken' if symptom.broken else 'look'}: {symptom.says}."
    yield f"- **Users**: {symptom.users}"
    yield f"- **Do**: {symptom.do.format(**words)}."
    yield f"- **Over**: {symptom.over}"
    if symptom.alerts:
        yield f"- **Rings**: {', '.join(f'`{alert}`' for alert in symptom.alerts)}."
    if symptom.page:
        yield f"- **Page**: {symptom.page}."
    yield ""
