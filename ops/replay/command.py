"""``wishlist replay``."""

from __future__ import annotations

from typing import Annotated

import typer

from ops.replay.plan import EARLIEST


def replay(
    sink: Annotated[str, typer.Argument(help="The agent whose sink takes the events once more, e.g. persist.")],
    start: Annotated[
        str,
        typer.Option("--from", help="earliest, a moment such as 2026-11-01T09:00, or offsets such as 0:1200,3:50."),
    ] = EARLIEST,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would be read.")] = False,
    rate: Annotated[
        float, typer.Option(min=1, help="Records a second at most, so that the live agents keep up.")
    ] = 5_000,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with the newest that was ended early.")] = False,
    rebuild: Annotated[
        bool, typer.Option("--rebuild", help="Build the store anew beside the live one, and take it over at once.")
    ] = False,
    workers: Annotated[int, typer.Option(min=1, help="So many write at once, each of partitions of its own.")] = 1,
    again: Annotated[
        bool, typer.Option("--again", help="Have pushes, digests and pictures of what has passed happen once more.")
    ] = False,
    json_: Annotated[bool, typer.Option("--json", help="As JSON, at the end; needs --yes or --dry-run.")] = False,
) -> None:
    """Read events again, from the topic into one sink. What is there already stays as it is."""
    # Loaded where it is wanted only: every sink with its client is among it.
    from ops.replay.session import Options, run

    run(
        Options(
            sink=sink,
            start=start,
            yes=yes,
            dry_run=dry_run,
            rate=rate,
            resume=resume,
            rebuild=rebuild,
            workers=workers,
            again=again,
            as_json=json_,
        )
    )
