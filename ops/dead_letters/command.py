"""``wishlist dlq``: look at dead letters, send them back, give them up."""

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

import asyncpg
import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from clients import logs
from clients.registry import open_codec
from config.settings import DlqSettings, KafkaSettings, PostgresSettings, StreamSettings, load
from ops.dead_letters import as_json, audit, options, reading, redriving, showing
from ops.dead_letters.desk import BadInput, Desk, OutOfReach, group_named, open_desk
from ops.dead_letters.letters import Filter, Letter, LetterId, State, heaps, refusal
from ops.dead_letters.reading import BrokerAway
from ops.dead_letters.reveal import reveal
from schemas.codec import SchemaUnavailable

dlq = typer.Typer(
    add_completion=False, help="Dead letters: look at them, send them back to the group that failed, or give them up."
)
# Without markup: brackets in what events and errors say are no colours.
console = Console(highlight=False, markup=False)
notices = Console(stderr=True, highlight=False, markup=False)

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
    """Sum up dead letters by group, error and age: those that nobody has dealt with, unless told otherwise."""
    states = options.states_named(state)

    async def work(desk: Desk) -> int:
        every = await desk.letters()
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
                    **({"letters": [as_json.letter_of(letter, now) for letter in shown]} if letters else {}),
                    "states": {str(one): sum(letter.state is one for letter in every) for one in State},
                }
            )
            return 0
        if not found:
            console.print(f"none of these; there are {showing.states(every)}" if every else "no dead letters")
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
    letter_id: Annotated[
        LetterId, typer.Argument(parser=options.parse_id, metavar="ID", help="The letter, such as 2-417.")
    ],
    unmask: Annotated[
        bool, typer.Option("--unmask", help="Show tokens, people and messages too. The audit keeps who asked.")
    ] = False,
    actor: options.Actor = None,
    json_: options.Json = False,
) -> None:
    """Show one letter: its event, what went wrong where, and what was done about it."""
    kafka = load(KafkaSettings)

    async def work(desk: Desk) -> int:
        [letter] = await desk.named([letter_id])
        if unmask and desk.connection is not None:
            await audit.note_unmasked(
                desk.connection, actor or audit.operator(), f"show {letter_id} --unmask", letter_id
            )
        history = [] if desk.connection is None else await audit.acts(desk.connection, letter=letter_id)
        codec = await asyncio.to_thread(open_codec, kafka, wait_seconds=5.0)
        held = reveal(letter, await desk.content(letter), codec, kafka.segment_topic, unmask=unmask)
        now = datetime.now(UTC)
        if json_:
            _print_json(as_json.whole_of(letter, held, history, now))
        else:
            console.print(showing.whole(letter, held, history, now))
        return 0

    _at_desk(work, needs_postgres=unmask)


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
    """Send letters back through their topic, for the group that failed alone.

    Each goes under its key and event id; what its group has applied already it passes by. Exit code 1 says that some
    were refused, came back, or were not read within --wait.
    """
    chosen = options.filter_of(ids, error, topic, event, since, until, _MAY_GO[again])
    options.must_name_something(chosen, group, everything)
    kafka, settings = load(KafkaSettings), load(DlqSettings)

    async def work(desk: Desk) -> int:
        assert desk.connection is not None
        connection = desk.connection
        known = await reading.readers(connection)

        def sort(letters: Sequence[Letter]) -> tuple[list[Letter], dict[Letter, str]]:
            why = {
                letter: refusal(letter, again=again, max_redrives=settings.max_redrives, readers=known)
                for letter in letters
            }
            going = [letter for letter in letters if why[letter] is None]
            return going[:limit], {letter: words for letter, words in why.items() if words is not None}

        going, refused = sort(await _select(desk, chosen, group))
        report: dict[str, Any] = {"dry_run": dry_run, "redriven": [str(letter.id) for letter in going]}
        if not json_:
            _show_plan(going, refused, "back to", "would be sent back" if dry_run else "to be sent back")
        _warn_of_a_stop(going)
        if dry_run or not going:
            if json_:
                _print_json({**report, "refused": as_json.refusals_of(refused)})
            return int(bool(refused) and not dry_run)
        _ask(chosen, yes, f"Send {showing.numbered(len(going))} back?")
        async with audit.alone(connection):
            going, late = sort(await desk.named([letter.id for letter in going]))
            refused |= late
            await desk.keep(going)
            since_ends = {number: end for number, (_, end) in (await asyncio.to_thread(_topic(desk).bounds)).items()}
            asked_for = options.as_typed("redrive", chosen, group, everything, again=again, limit=limit)
            act = await audit.begin(connection, "redrive", actor or audit.operator(), asked_for, len(going))
            redriver = redriving.Redriver(kafka, rate or settings.redrives_per_second)
            with _progress(len(going)) as advance:
                sent = await redriver.send(connection, act, going, advance)
            await audit.end(connection, act)
        refused |= {letter: sent.refused[letter.id] for letter in going if letter.id in sent.refused}
        pairs = [(letter, sent.places[letter.id]) for letter in going if letter.id in sent.places]
        report |= {"redriven": [str(letter.id) for letter, _ in pairs], "refused": as_json.refusals_of(refused)}
        if not json_:
            console.print(f"{showing.numbered(len(pairs))} sent back, acknowledged by the broker")
        bad = bool(refused)
        if wait:
            with notices.status("waiting for the groups"):
                result = await redriving.outcome(connection, _topic(desk), pairs, since_ends, wait)
            report |= as_json.outcome_of(result)
            bad = bad or bool(result.returned or result.unread)
            if not json_:
                console.print(showing.outcome(result))
        if json_:
            _print_json(report)
        return int(bad)

    _at_desk(work, needs_postgres=True, needs_kafka=True)


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
    """Give open letters up, with a reason. They stay in the table, and redrive --again takes them back."""
    if not reason.strip():
        raise typer.BadParameter("say why, so that the next one knows", param_hint="--reason")
    chosen = options.filter_of(ids, error, topic, event, since, until, {State.OPEN})
    options.must_name_something(chosen, group, everything)

    async def work(desk: Desk) -> int:
        assert desk.connection is not None
        connection = desk.connection

        def sort(letters: Sequence[Letter]) -> tuple[list[Letter], dict[Letter, str]]:
            open_ones = [letter for letter in letters if letter.state is State.OPEN]
            return open_ones[:limit], {
                letter: f"is {letter.state}: only open letters are discarded"
                for letter in letters
                if letter.state is not State.OPEN
            }

        going, refused = sort(await _select(desk, chosen, group))
        if not json_:
            _show_plan(going, refused, "of", "would be discarded" if dry_run else "to be discarded")
        if going and not dry_run:
            _ask(chosen, yes, f"Discard {showing.numbered(len(going))}?")
            async with audit.alone(connection):
                going, late = sort(await desk.named([letter.id for letter in going]))
                refused |= late
                await desk.keep(going)
                asked_for = options.as_typed("discard", chosen, group, everything, limit=limit)
                who = actor or audit.operator()
                act = await audit.begin(connection, "discard", who, asked_for, len(going), reason.strip())
                await audit.mark_discarded(connection, act, [letter.id for letter in going])
                await audit.end(connection, act)
        if json_:
            gone = [str(letter.id) for letter in going]
            _print_json({"dry_run": dry_run, "discarded": gone, "refused": as_json.refusals_of(refused)})
        elif going and not dry_run:
            console.print(f"{showing.numbered(len(going))} discarded")
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
    except (OutOfReach, audit.Busy, SchemaUnavailable) as error:
        notices.print(str(error), style="red")
        raise typer.Exit(1) from None
    except BrokerAway as error:
        notices.print(f"Kafka does not answer: {error}. The same command again is safe.", style="red")
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


async def _select(desk: Desk, chosen: Filter, group: str | None) -> list[Letter]:
    meant = replace(chosen, group=await _group(desk, group))
    letters = await desk.named(chosen.ids) if chosen.ids else await desk.letters()
    return [letter for letter in letters if meant.takes(letter)]


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


def _show_plan(going: Sequence[Letter], refused: dict[Letter, str], column: str, verb: str) -> None:
    if going:
        console.print(f"{showing.numbered(len(going))} {verb}", style="bold")
        console.print(showing.plan(going, column))
    elif not refused:
        console.print("no letter is meant; wishlist dlq list --state all shows what there is")
    if refused:
        console.print(f"{showing.numbered(len(refused))} refused", style="bold")
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
