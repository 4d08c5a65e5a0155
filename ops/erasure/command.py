"""``wishlist erase`` and ``wishlist delete``."""

from __future__ import annotations

import asyncio
import getpass
from collections.abc import AsyncIterator, Coroutine
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import asyncpg
import typer
from rich.console import Console
from rich.table import Table

from clients.postgres import Database
from config.settings import PostgresSettings, load

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
) -> None:
    """Remove a person from every store, for ever. Safe to repeat; what had to wait is done by the next run."""
    if dry_run and user is None:
        console.print("[red]--dry-run: of whom?[/] Name the person's public id.")
        raise typer.Exit(2)
    _run(_erase(user, yes=yes, dry_run=dry_run))


async def _erase(user: str | None, *, yes: bool, dry_run: bool) -> None:
    # Loaded where they are wanted only: Google's libraries take a second.
    from ops.erasure.job import Erasures
    from ops.erasure.stores import erasers

    database = Database(load(PostgresSettings))
    job = Erasures(database, erasers(database))
    if user is not None:
        person = await job.find(user)
        if person is None:
            when = await job.erased_at(user)
            said = f"was erased on {when:%Y-%m-%d %H:%M} UTC" if when else "is nobody that we know"
            console.print(f"{user} {said}")
            raise typer.Exit(0 if when else 1)
        if dry_run or not yes:
            await _show(f"What there is of {user}", job.count(person))
        if dry_run:
            return
        if not yes:
            typer.confirm(f"Erase {user} from all of these for ever?", abort=True)
        await job.begin(user, getpass.getuser())
    people = await job.open(user)
    complete = True
    for person in people:
        complete &= await _show(f"Erasing {person.public_id}", job.run(person.user_id))
    if not people:
        console.print("nobody waits to be erased")
    elif not complete:
        console.print("[yellow]Not everything could be done yet.[/] To go on later: wishlist erase")
        raise typer.Exit(_NOT_YET)


async def _show(title: str, outcomes: AsyncIterator[Outcome]) -> bool:
    """A table of them; whether all are done."""
    table = Table("store", "entries", "", box=None)
    complete = True
    async for outcome in outcomes:
        complete &= outcome.is_done
        table.add_row(outcome.store, f"{outcome.erased:,}", "erased" if outcome.is_done else outcome.note)
    console.print(title)
    console.print(table)
    return complete


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
    try:
        return asyncio.run(work)
    except (OSError, TimeoutError, asyncpg.PostgresError) as error:
        console.print(f"[red]PostgreSQL cannot be reached:[/] {error}. Check POSTGRES_DSN; ./run up starts one.")
        raise typer.Exit(1) from None
