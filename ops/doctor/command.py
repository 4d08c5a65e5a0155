"""``wishlist doctor``."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Annotated

import typer
from rich.console import Console

from config.settings import DoctorSettings, load
from ops.doctor.finding import Check, Level

console = Console()


def doctor(
    only: Annotated[
        list[str] | None,
        typer.Option("--only", metavar="CHECK", help="Look at this only; may be given again, or with commas between."),
    ] = None,
    watch: Annotated[
        float | None,
        typer.Option(min=0, help="Seconds for which the API's counters are watched (DOCTOR_WATCH_SECONDS)."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="For scripts.")] = False,
) -> None:
    """Look at every part at once: what is wrong, what users notice of it, and what to do.

    Leaves with 0 where all is well, with 1 where something wants a look, with 2 where it was not understood. It changes
    nothing. docs/runbook.md says more about each finding.
    """
    # Loaded where they are wanted only: every part's client is among them.
    from ops.doctor import showing
    from ops.doctor.checks import CHECKS
    from ops.doctor.examination import examine

    checks = _chosen(only, CHECKS)
    settings = load(DoctorSettings)
    if watch is not None:
        settings = settings.model_copy(update={"watch_seconds": watch})
    results = asyncio.run(examine(checks, settings))
    if as_json:
        typer.echo(showing.as_json(results))
    else:
        console.print(showing.table(results))
    if any(result.finding.level is not Level.WELL for result in results):
        raise typer.Exit(1)


def _chosen(only: Sequence[str] | None, checks: Sequence[Check]) -> Sequence[Check]:
    if not only:
        return checks
    wanted = {name.strip() for words in only for name in words.split(",")}
    if unknown := sorted(wanted - {check.name for check in checks}):
        known = ", ".join(check.name for check in checks)
        raise typer.BadParameter(
            f"there is no check {', '.join(map(repr, unknown))}; there are {known}", param_hint="--only"
        )
    return [check for check in checks if check.name in wanted]
