"""Starts and stops parts, and tells how they are."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import time
from collections.abc import Collection, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Literal

import psutil
from rich.console import Console

from config.settings import StackSettings, WarehouseSettings, load
from ops.stack import background
from ops.stack.nursery import Nursery, Seedling
from ops.stack.parts import ROOT, Part, environment, make_development_keys, processes, services, supervisor
from ops.stack.state import State, is_free

console = Console(stderr=True, highlight=False)
START_SECONDS = 120
STOP_SECONDS = 15
LARGEST_LOG = 20_000_000


class StartFailed(Exception):
    """A part did not come up; the message tells where to look."""


def up(state: State, *, parts_only: bool = False, supervised: bool = False) -> None:
    """Start what does not run yet and wait until all of it is well; *supervised*: and have it stay so."""
    began = time.monotonic()
    with state.changing():
        _avoid_taken_ports(state)
        make_development_keys(state)
        env = environment(state)
        state.write("env.json", env)
        os.environ.update(env)
        waiting = launch(state, services(state))
        # Loaded while these start.
        from ops.stack import contents

        running = state.processes()
        ours = [] if parts_only else processes(state)
        nursery = Nursery() if any(part.words and part.name not in running for part in ours) else None
        # The warehouse comes up beside our own processes: nobody but its agent needs it, and that can wait for it.
        warehouse_part = waiting.pop("bigquery")
        _await(state, waiting)
        with ThreadPoolExecutor(1) as pool:
            filling = pool.submit(_prepare_warehouse, state, warehouse_part)
            try:
                asyncio.run(contents.prepare())
            except contents.NotPrepared as error:
                raise StartFailed(f"bucket and queue cannot be prepared: {error}. See ./run logs s3.") from error
            _await(state, launch(state, ours, nursery))
            filling.result()
        if supervised:
            _await(state, launch(state, [supervisor()]))
    console.print(f"[green]everything is up[/] after {time.monotonic() - began:.1f} s")


def down(state: State, *, but: Collection[str] = (), only: Collection[str] = ()) -> None:
    """Stop what was started from here: our processes first, then what they stand on.

    All of it, or all *but* some, or *only* some; what was stopped here the supervisor leaves alone.
    """
    with state.changing():
        for parts in ([supervisor()], processes(state), services(state)):
            names = {part.name for part in parts if part.name not in but and (not only or part.name in only)}
            stop({name: process for name, process in state.processes().items() if name in names})
            state.forget(names)
    background.clear()


def status(state: State) -> dict[str, dict[str, Any]]:
    """Each part by name: address, process id and health."""
    running, interventions = state.processes(), {}
    parts = [*services(state), *processes(state)]
    if supervisor().name in state.wanted():
        parts.append(supervisor())
        interventions = state.interventions()
    with ThreadPoolExecutor(len(parts)) as pool:
        health = list(pool.map(lambda part: part.name in running and part.healthy(), parts))
    report = {}
    for part, healthy in zip(parts, health, strict=True):
        process = running.get(part.name)
        for name in (part.name, *part.aliases):
            report[name] = {
                "address": part.address,
                "pid": process.pid if process else None,
                "healthy": healthy,
                **{"restarts": 0, "given_up": False, **interventions.get(part.name, {})},
            }
    return report


def launch(state: State, parts: Sequence[Part], nursery: Nursery | None = None) -> dict[str, tuple[Part, float]]:
    """Start those of *parts* that do not run, out of *nursery* where it can; each with when that was, by name."""
    running = state.processes()
    missing = [part for part in parts if part.name not in running]
    forked = [part for part in missing if nursery and part.words]
    for part in missing:
        part.prepare()
        _make_room(state.log(part.name))
        if part not in forked:
            with state.log(part.name).open("ab") as log:
                process = subprocess.Popen(
                    [*_gently(part.nice), *part.command],
                    cwd=ROOT,
                    env={**os.environ, **part.env, "PYTHONPATH": str(ROOT)},
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    start_new_session=True,
                )
            _started(state, part, process.pid)
    if nursery and forked:
        env = dict(os.environ)
        seedlings = [
            Seedling(list(part.words), {**env, **part.env}, str(state.log(part.name)), part.nice) for part in forked
        ]
        for part, pid in zip(forked, nursery.start(seedlings), strict=True):
            _started(state, part, pid)
    return {part.name: (part, time.monotonic()) for part in parts}


def _gently(nice: int | Literal["idle"]) -> list[str]:
    return [str(ROOT / "ops" / "stack" / "gently"), str(nice)] if nice else []


def _started(state: State, part: Part, pid: int) -> None:
    state.remember(part.name, psutil.Process(pid))
    if part.nice and load(StackSettings).background:
        background.put(pid)


def _make_room(log_file: Path) -> None:
    if log_file.exists() and log_file.stat().st_size > LARGEST_LOG:
        log_file.replace(log_file.with_suffix(".log.1"))


def _await(state: State, waiting: dict[str, tuple[Part, float]]) -> None:
    """Return when all of *waiting* are well, saying so of each."""
    running = state.processes()
    while waiting:
        for name, (part, began) in list(waiting.items()):
            took = time.monotonic() - began
            if part.healthy():
                console.print(f"[green]✓[/] {name:<14}{part.address:<57}[dim]{took:5.1f} s[/]")
                del waiting[name]
            elif name not in running or not _alive(running[name]) or took > START_SECONDS:
                tail = state.log(name).read_text(errors="replace").splitlines()[-15:]
                raise StartFailed(f"{name} did not start. The end of {state.log(name)}:\n" + "\n".join(tail))
        time.sleep(0.1)


def stop(stopping: dict[str, psutil.Process]) -> None:
    """Ask all of *stopping* at once, and kill what has not gone, or has left children behind, when time is up."""
    began = time.monotonic()
    families: dict[str, list[psutil.Process]] = {}
    for name, process in stopping.items():
        try:
            families[name] = [process, *process.children(recursive=True)]
            # SIGINT is PostgreSQL's "fast" shutdown: it does not wait for its clients.
            process.send_signal(signal.SIGINT if name == "postgres" else signal.SIGTERM)
        except psutil.NoSuchProcess:
            families.setdefault(name, [])
    for name, family in families.items():
        left = max(0.0, began + STOP_SECONDS - time.monotonic())
        _, late = psutil.wait_procs(family[:1], timeout=left)
        _, orphans = psutil.wait_procs(family[1:], timeout=1)
        for process in [*late, *orphans]:
            try:
                process.kill()
            except psutil.NoSuchProcess:
                continue
        psutil.wait_procs([*late, *orphans], timeout=5)
        how = "had to be killed" if late else "stopped"
        console.print(f"[dim]{name} {how} ({time.monotonic() - began:.1f} s)[/]")


def _alive(process: psutil.Process) -> bool:
    try:
        return bool(process.status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


def _prepare_warehouse(state: State, waiting: tuple[Part, float]) -> None:
    """Dataset, tables and views, once the warehouse is there."""
    _await(state, {waiting[0].name: waiting})
    # Google's libraries take a second to load, which only this thread waits for.
    from clients.bigquery import Warehouse
    from ops import warehouse

    for _ in warehouse.prepare(Warehouse(WarehouseSettings())):
        pass


def _avoid_taken_ports(state: State) -> None:
    """Where a part of ours does not run, somebody else may have taken its port since."""
    running = state.processes()
    owners = {"kafka_controller": "kafka", "aws": "s3", "bigquery_storage": "bigquery"}
    taken = [
        name for name, port in state.ports().items() if owners.get(name, name) not in running and not is_free(port)
    ]
    if taken and running:
        # What runs has been told the old ports.
        raise StartFailed(f"ports of {', '.join(taken)} are taken by other programs: ./run down, then ./run up")
    if taken:
        state.forget_ports(taken)
