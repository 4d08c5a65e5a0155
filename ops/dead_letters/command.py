"""``wishlist dlq``: look at dead letters and parked rows, send them back, give them up."""

from __future__ import annotations

import asyncio
import json
import sys
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from typing import Annotated, Any
from uuid import UUID

import asyncpg
import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from clients import logs
from clients.faults import Unavailable
from clients.registry import open_codec
from config.settings import DlqSettings, KafkaSettings, PostgresSettings, StreamSettings, load
from ops.dead_letters import as_json, audit, options, reading, redriving, row_changes, showing
from ops.dead_letters.desk import BadInput, Desk, OutOfReach, group_named, open_desk
from ops.dead_letters.letters import Filter, Letter, LetterId, State, heaps, refusal
from ops.dead_letters.reveal import reveal
from ops.dead_letters.rows import ParkedRow, RowId, content

dlq = typer.Typer(
    add_completion=False,
    help="Dead letters and parked rows: look at them, send them back to the part that failed, or give them up.",
)
# Without markup: brackets in what events and errors say are no colours.
console = Console(highlight=False, markup=False)
notices = Console(stderr=True, highlight=False, markup=False)

Refusals = dict[Letter | ParkedRow, str]
_MAY_GO = {False: {State.OPEN}, True: {State.OPEN, State.REDRIVEN, State.APPLIED, State.DISCARDED}}


@dlq.command("list")
def list_letters(
    group: options.GroupName = None,
    error: options.ErrorWords = None,
    topic: options.Topic = None,
    event: options.EventId = None,
    since: options.Since = None,
    until: options.Until = None,
    state: Annotated[
        str, typer.Option("--state", help="open, redriven, applied, returned, discarded, or all.")
    ] = State.OPEN,
    letters: Annotated[bool, typer.Option("--letters", help="One by one, with their ids, the newest first.")] = False,
    limit: Annotated[int, typer.Option("--limit", min=1, help="How many --letters shows.")] = 50,
    json_: options.Json = False,
) -> None:
    """Sum up dead letters and parked rows by group or outbox, error and age: the open ones, unless told otherwise."""
    states = options.states_named(state)

    async def work(desk: Desk) -> int:
        every: list[Letter | ParkedRow] = [*await desk.letters(), *await desk.rows()]
        chosen = Filter(
            group=await _group(desk, group), error=error, topic=topic, event=event, since=since, until=until,
            states=states,
        )  # fmt: skip
        found = [letter for letter in every if chosen.takes(letter)]
        now = datetime.now(UTC)
        shown = found[::-1][:limit]
        if json_:
            _print_json(
                {
                    "total": len(found),
                    "groups": [as_json.heap_of(heap) for heap in heaps(found, now)],
                    **({"letters": [as_json.failure_of(one, now) for one in shown]} if letters else {}),
                    "states": {str(one): sum(failure.state is one for failure in every) for one in State},
                }
            )
            return 0
        if not found:
            console.print(
                f"none of these; there are {showing.states(every)}" if every else "no dead letters and no parked rows"
            )
            return 0
        if letters:
            console.print(showing.each(shown, now))
            if len(found) > limit:
                console.print(f"and {len(found) - limit:,} older; --limit shows more", style="dim")
            return 0
        console.print(showing.overview(found, now))
        console.print(f"in all {showing.states(every)}. Next: wishlist dlq show {found[-1].id}", style="dim")
        return 0

    _at_desk(work)


@dlq.command()
def show(
    failure_id: Annotated[
        Any, typer.Argument(parser=options.parse_id, metavar="ID", help="A letter, such as 2-417, or OUTBOX/ROW.")
    ],
    unmask: Annotated[
        bool, typer.Option("--unmask", help="Show tokens, people and messages too. The audit keeps who asked.")
    ] = False,
    actor: options.Actor = None,
    json_: options.Json = False,
) -> None:
    """Show one letter or row: its content, what went wrong where, and what was done about it."""
    kafka = load(KafkaSettings)

    async def row_shown(desk: Desk, history: Sequence[audit.Act]) -> int:
        assert desk.connection is not None
        [row] = await desk.rows([failure_id])
        held, now = await content(desk.connection, row, unmask=unmask), datetime.now(UTC)
        if json_:
            _print_json(as_json.whole_row_of(row, held, history, now))
        else:
            console.print(showing.whole_row(row, held, history, now))
        return 0

    async def work(desk: Desk) -> int:
        if unmask and desk.connection is not None:
            await audit.note_unmasked(
                desk.connection, actor or audit.operator(), f"show {failure_id} --unmask", failure_id
            )
        history = [] if desk.connection is None else await audit.acts(desk.connection, about=failure_id)
        if isinstance(failure_id, RowId):
            return await row_shown(desk, history)
        [letter] = await desk.named([failure_id])
        codec = await asyncio.to_thread(open_codec, kafka, wait_seconds=5.0)
        held = reveal(letter, await desk.content(letter), codec, kafka.segment_topic, unmask=unmask)
        now = datetime.now(UTC)
        if json_:
            _print_json(as_json.whole_of(letter, held, history, now))
        else:
            console.print(showing.whole(letter, held, history, now))
        return 0

    _at_desk(work, needs_postgres=unmask or isinstance(failure_id, RowId))


@dlq.command()
def redrive(
    ids: options.Ids = None,
    group: options.GroupName = None,
    error: options.ErrorWords = None,
    topic: options.Topic = None,
    event: options.EventId = None,
    since: options.Since = None,
    until: options.Until = None,
    everything: Annotated[bool, typer.Option("--all", help="Every open letter.")] = False,
    again: Annotated[bool, typer.Option("--again", help="Also what was sent back or discarded before.")] = False,
    limit: options.Limit = None,
    rate: Annotated[
        float | None,
        typer.Option("--rate", min=0.1, help="So many a second at most; DLQ_REDRIVES_PER_SECOND if unset."),
    ] = None,
    wait: Annotated[
        float, typer.Option("--wait", min=0, help="Tell what became of them, after so many seconds at the latest.")
    ] = 0.0,
    dry_run: options.DryRun = False,
    yes: options.Yes = False,
    actor: options.Actor = None,
    json_: options.Json = False,
) -> None:
    """Send letters back through their topic, for the group that failed alone, and have rows worked off again.

    A letter goes under its key and event id, a row under its own id, so that what took effect already does not do so
    again. Exit code 1 says that some were refused, came back, or were not read within --wait.
    """
    chosen = options.filter_of(ids, error, topic, event, since, until, _MAY_GO[again])
    options.must_name_something(chosen, group, everything)
    kafka, settings = load(KafkaSettings), load(DlqSettings)

    async def work(desk: Desk) -> int:
        assert desk.connection is not None
        connection = desk.connection
        known = await reading.readers(connection)

        def sort(letters: Sequence[Letter]) -> tuple[list[Letter], Refusals]:
            why: dict[Letter | ParkedRow, str | None] = {
                letter: refusal(letter, again=again, max_redrives=settings.max_redrives, readers=known)
                for letter in letters
            }
            going = [letter for letter in letters if why[letter] is None]
            return going[:limit], {letter: words for letter, words in why.items() if words is not None}

        async def send(going: list[Letter], refused: Refusals, act: UUID) -> dict[str, Any]:
            """Send the letters *going*; what became of them. Adds to *refused*."""
            going, late = sort(await desk.named([letter.id for letter in going]))
            refused |= late
            await desk.keep(going)
            since_ends = {number: end for number, (_, end) in (await asyncio.to_thread(_topic(desk).bounds)).items()}
            redriver = redriving.Redriver(kafka, rate or settings.redrives_per_second)
            with _progress(len(going)) as advance:
                sent = await redriver.send(connection, act, going, advance)
            refused |= {letter: sent.refused[letter.id] for letter in going if letter.id in sent.refused}
            pairs = [(letter, sent.places[letter.id]) for letter in going if letter.id in sent.places]
            if not json_:
                console.print(f"{showing.numbered(len(pairs))} sent back, acknowledged by the broker")
            report: dict[str, Any] = {"redriven": [str(letter.id) for letter, _ in pairs]}
            if wait:
                with notices.status("waiting for the groups"):
                    result = await redriving.outcome(connection, _topic(desk), pairs, since_ends, wait)
                report |= as_json.outcome_of(result)
                if not json_:
                    console.print(showing.outcome(result))
            return report

        letters, rows = await _select(desk, chosen, group)
        going, refused = sort(letters)
        rows = rows[: None if limit is None else limit - len(going)]
        every: list[Letter | ParkedRow] = [*going, *rows]
        if not json_:
            _show_plan(every, refused, "back to", "would be sent back" if dry_run else "to be sent back")
        _warn_of_a_stop(going)
        report: dict[str, Any] = {"redriven": [str(one.id) for one in every]}
        if (going or rows) and not dry_run:
            _ask(chosen, yes, f"Send {showing.numbered_of(every)} back?")
            asked_for = options.as_typed("redrive", chosen, group, everything, again=again, limit=limit)
            async with audit.alone(connection):
                act = await audit.begin(connection, "redrive", actor or audit.operator(), asked_for, len(every))
                revived, stuck = await row_changes.redrive(connection, act, rows)
                refused |= stuck
                if rows and not json_:
                    console.print(f"{showing.numbered(len(revived), 'row')} due again")
                report = await send(going, refused, act) if going else {"redriven": []}
                report["redriven"] += [str(one) for one in revived]
                await audit.end(connection, act)
        if json_:
            _print_json({"dry_run": dry_run, **report, "refused": as_json.refusals_of(refused)})
        bad = bool(refused or report.get("returned") or report.get("unread"))
        return int(bad and not dry_run)

    only_rows = bool(chosen.ids) and all(isinstance(one, RowId) for one in chosen.ids)
    _at_desk(work, needs_postgres=True, needs_kafka=not only_rows)


@dlq.command()
def discard(
    reason: Annotated[str, typer.Option("--reason", help="Why; the audit keeps it.")],
    ids: options.Ids = None,
    group: options.GroupName = None,
    error: options.ErrorWords = None,
    topic: options.Topic = None,
    event: options.EventId = None,
    since: options.Since = None,
    until: options.Until = None,
    everything: Annotated[bool, typer.Option("--all", help="Every open letter.")] = False,
    limit: options.Limit = None,
    dry_run: options.DryRun = False,
    yes: options.Yes = False,
    actor: options.Actor = None,
    json_: options.Json = False,
) -> None:
    """Give open letters and parked rows up, with a reason. Letters stay, and redrive --again takes them back."""
    if not reason.strip():
        raise typer.BadParameter("say why, so that the next one knows", param_hint="--reason")
    chosen = options.filter_of(ids, error, topic, event, since, until, {State.OPEN})
    options.must_name_something(chosen, group, everything)

    async def work(desk: Desk) -> int:
        assert desk.connection is not None
        connection = desk.connection

        def sort(letters: Sequence[Letter]) -> tuple[list[Letter], Refusals]:
            open_ones = [letter for letter in letters if letter.state is State.OPEN]
            return open_ones[:limit], {
                letter: f"is {letter.state}: only open letters are discarded"
                for letter in letters
                if letter.state is not State.OPEN
            }

        letters, rows = await _select(desk, chosen, group)
        going, refused = sort(letters)
        rows = rows[: None if limit is None else limit - len(going)]
        every: list[Letter | ParkedRow] = [*going, *rows]
        if not json_:
            _show_plan(every, refused, "of", "would be discarded" if dry_run else "to be discarded")
        gone = [str(one.id) for one in every]
        if gone and not dry_run:
            _ask(chosen, yes, f"Discard {showing.numbered_of(every)}?")
            async with audit.alone(connection):
                going, late = sort(await desk.named([letter.id for letter in going]))
                refused |= late
                await desk.keep(going)
                asked_for = options.as_typed("discard", chosen, group, everything, limit=limit)
                who = actor or audit.operator()
                act = await audit.begin(connection, "discard", who, asked_for, len(every), reason.strip())
                await audit.mark_discarded(connection, act, [letter.id for letter in going])
                given_up = await row_changes.discard(connection, act, rows)
                await audit.end(connection, act)
            gone = [str(one) for one in (*(letter.id for letter in going), *given_up)]
        if json_:
            _print_json({"dry_run": dry_run, "discarded": gone, "refused": as_json.refusals_of(refused)})
        elif gone and not dry_run:
            console.print(f"{showing.numbered_of(every)} discarded")
        return int(bool(refused) and not dry_run)

    _at_desk(work, needs_postgres=True)


@dlq.command("audit")
def show_audit(
    limit: Annotated[int, typer.Option("--limit", min=1, help="How many, the newest first.")] = 20,
    json_: options.Json = False,
) -> None:
    """Show who sent back, discarded or unmasked what, and why."""

    async def work(desk: Desk) -> int:
        assert desk.connection is not None
        found = await audit.acts(desk.connection, limit=limit)
        if json_:
            _print_json({"acts": [as_json.act_of(act) for act in found]})
        elif found:
            console.print(showing.done(found))
        else:
            console.print("nothing was done yet")
        return 0

    _at_desk(work, needs_postgres=True)


# --- what they share ------------------------------------------------------------------------------------------------


def _at_desk(
    work: Callable[[Desk], Awaitable[int]], *, needs_postgres: bool = False, needs_kafka: bool = False
) -> None:
    """Do *work*, and leave with its exit code; what goes wrong is said without a traceback."""
    # What it would say of a broker that is away, we say in one line.
    logs.librdkafka.setLevel("CRITICAL")

    async def run() -> int:
        suffix = load(StreamSettings).group_suffix
        async with open_desk(
            load(KafkaSettings), load(PostgresSettings), suffix, needs_postgres=needs_postgres, needs_kafka=needs_kafka
        ) as desk:
            for line in desk.notices:
                notices.print(line, style="yellow")
            return await work(desk)

    try:
        code = asyncio.run(run())
    except BadInput as error:
        raise typer.BadParameter(str(error), param_hint=error.option) from None
    except (OutOfReach, audit.Busy) as error:
        notices.print(str(error), style="red")
        raise typer.Exit(1) from None
    except Unavailable as error:
        said = f"{error.dependency} does not answer: {error.reason}. The same command again is safe."
        notices.print(said, style="red")
        raise typer.Exit(1) from None
    except (asyncpg.UndefinedColumnError, asyncpg.UndefinedTableError):
        notices.print("PostgreSQL's schema is too old: run wishlist migrate.", style="red")
        raise typer.Exit(1) from None
    except BrokenPipeError:
        raise  # whoever read our output has left; the command line's own affair
    except (asyncpg.PostgresError, asyncpg.InterfaceError, OSError, TimeoutError) as error:
        notices.print(f"PostgreSQL does not answer: {error}. The same command again is safe.", style="red")
        raise typer.Exit(1) from None
    raise typer.Exit(code)


async def _group(desk: Desk, name: str | None) -> str | None:
    return None if name is None else group_named(name, await desk.groups())


async def _select(desk: Desk, chosen: Filter, group: str | None) -> tuple[list[Letter], list[ParkedRow]]:
    """The letters and the rows that are meant."""
    meant = replace(chosen, group=await _group(desk, group))
    letter_ids = [one for one in chosen.ids if isinstance(one, LetterId)]
    row_ids = [one for one in chosen.ids if isinstance(one, RowId)]
    letters = [] if row_ids and not letter_ids else await desk.named(letter_ids) if letter_ids else await desk.letters()
    rows = [] if letter_ids and not row_ids else await desk.rows(row_ids or None)
    return [one for one in letters if meant.takes(one)], [one for one in rows if meant.takes(one)]


def _ask(chosen: Filter, yes: bool, question: str) -> None:
    """Have what was not named one by one confirmed."""
    if yes or chosen.ids:
        return
    if not sys.stdin.isatty():
        raise BadInput("--yes", "nobody can be asked here: say --yes, or look first with --dry-run")
    if not typer.confirm(question):
        raise typer.Exit(1)


def _warn_of_a_stop(going: Sequence[Letter]) -> None:
    """So many that are refused again would stop their group."""
    most = load(StreamSettings).max_consecutive_rejects
    for group, count in Counter(letter.group for letter in going).items():
        if count > most:
            words = f"if these are refused again, {group} stops itself at {most:,}: try --limit 1 --wait 60 first"
            notices.print(words, style="yellow")


def _show_plan(going: Sequence[Letter | ParkedRow], refused: Refusals, column: str, verb: str) -> None:
    if going:
        console.print(f"{showing.numbered_of(going)} {verb}", style="bold")
        console.print(showing.plan(going, column))
    elif not refused:
        console.print("no letter and no row is meant; see wishlist dlq list --state all")
    if refused:
        console.print(f"{showing.numbered_of(list(refused))} refused", style="bold")
        console.print(showing.refusals(refused))


def _topic(desk: Desk) -> reading.DlqTopic:
    assert desk.topic is not None
    return desk.topic


def _print_json(value: dict[str, Any]) -> None:
    typer.echo(json.dumps(value, indent=2))


@contextmanager
def _progress(total: int) -> Iterator[redriving.Advance]:
    columns = (TextColumn("sending back"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=notices, transient=True) as bar:
        task = bar.add_task("letters", total=total)
        yield lambda count: bar.advance(task, count)
