"""``wishlist erase`` and ``wishlist delete``."""

from __future__ import annotations

import asyncio
import getpass
import json
import sys
from collections.abc import AsyncIterator, Coroutine
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer
from rich.console import Console
from rich.table import Table

from clients.postgres import Database
from config.settings import PostgresSettings, load
from ops.outages import notices, outages_told

if TYPE_CHECKING:
    from ops.erasure.job import Outcome

console = Console()
T = TypeVar("T")
# Some store has to be asked again later.
_NOT_YET = 3


def erase(
    user: Annotated[
        str | None, typer.Argument(help="The person's public id, e.g. user_maya. None: finish what waits.")
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what there is in each store.")] = False,
    json_: Annotated[bool, typer.Option("--json", help="As JSON; needs --yes or --dry-run.")] = False,
) -> None:
    """Remove a person from every store, for ever. Safe to repeat; what had to wait is done by the next run.

    Exit code 3: some store could not be counted or erased yet.
    """
    if dry_run and user is None:
        notices.print("--dry-run: of whom? Name the person's public id.", style="red")
        raise typer.Exit(2)
    shown = Shown(json_)
    code = _run(_erase(user, shown, yes=yes, dry_run=dry_run))
    shown.end(user, complete=code == 0)
    raise typer.Exit(code)


async def _erase(user: str | None, shown: Shown, *, yes: bool, dry_run: bool) -> int:
    # Loaded where they are wanted only: Google's libraries take a second.
    from ops.erasure.job import Erasures
    from ops.erasure.stores import erasers

    database = Database(load(PostgresSettings))
    job = Erasures(database, erasers(database))
    if user is not None:
        person = await job.find(user)
        if person is None:
            when = await job.erased_at(user)
            shown.say(f"{user} was erased on {when:%Y-%m-%d %H:%M} UTC" if when else f"{user} is nobody that we know")
            return 0 if when else 1
        if dry_run or not yes:
            counted = await shown.outcomes(f"What there is of {user}", user, job.count(person))
            if dry_run:
                return 0 if all(one.is_known for one in counted) else _NOT_YET
            if shown.as_json or not sys.stdin.isatty():
                notices.print("--yes: nobody can be asked here: say --yes, or look first with --dry-run", style="red")
                return 2
            typer.confirm(f"Erase {user} from all of these for ever?", abort=True)
        await job.begin(user, getpass.getuser())
    people = await job.open(user)
    complete = True
    for person in people:
        done = await shown.outcomes(f"Erasing {person.public_id}", person.public_id, job.run(person.user_id))
        complete &= all(one.is_done for one in done)
    if not people:
        shown.say("nobody waits to be erased")
    elif not complete:
        shown.say("Not everything could be done yet. To go on later: wishlist erase")
    return 0 if complete else _NOT_YET


class Shown:
    """What an erasure has to say, as tables while it goes on, or as one JSON object at its end."""

    def __init__(self, as_json: bool) -> None:
        self.as_json = as_json
        self._said: list[str] = []
        self._people: dict[str, list[dict[str, Any]]] = {}

    def say(self, words: str) -> None:
        """A sentence."""
        self._said.append(words)
        if not self.as_json:
            console.print(words)

    async def outcomes(self, title: str, person: str, outcomes: AsyncIterator[Outcome]) -> list[Outcome]:
        """What *outcomes* brings, store by store."""
        found = [outcome async for outcome in outcomes]
        self._people[person] = [_as_json(one) for one in found]
        if not self.as_json:
            table = Table("store", "entries", "", box=None)
            for one in found:
                table.add_row(
                    one.store, f"{one.erased:,}" if one.is_known else "?", "erased" if one.is_done else one.note
                )
            console.print(title)
            console.print(table)
        return found

    def end(self, user: str | None, *, complete: bool) -> None:
        """The JSON object, where that is wanted."""
        if self.as_json:
            said = {"user": user, "complete": complete, "people": self._people, "said": self._said}
            typer.echo(json.dumps(said, indent=2))


def _as_json(outcome: Outcome) -> dict[str, Any]:
    entries = outcome.erased if outcome.is_known else None
    return {"store": outcome.store, "entries": entries, "erased": outcome.is_done, "note": outcome.note}


def delete(
    wishlist: Annotated[str, typer.Argument(help="The list's public id, e.g. wl_8a2b3c4d5e6f.")],
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
) -> None:
    """Delete a wishlist: its links end at once, its pictures go."""
    if not yes:
        typer.confirm(f"Delete {wishlist} and all its shares for ever?", abort=True)
    _run(_delete(wishlist))


async def _delete(wishlist: str) -> None:
    from ops.erasure.wishlists import delete_list

    deleted = await delete_list(Database(load(PostgresSettings)), wishlist)
    if deleted is None:
        console.print(f"[red]{wishlist}: there is no such list[/]")
        raise typer.Exit(1)
    console.print(f"{wishlist} is deleted; links that have ended: {deleted.links}")
    for waits in deleted.waits:
        console.print(f"[yellow]{waits}[/]: the agent preview sees to it")


def _run(work: Coroutine[Any, Any, T]) -> T:
    with outages_told("PostgreSQL"):
        return asyncio.run(work)
