"""Starts and stops parts, and tells how they are."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from typing import Any

import asyncpg
import psutil
from rich.console import Console

from clients.objects import ObjectStore
from config.settings import KafkaSettings, ObjectStoreSettings, PostgresSettings
from ops import migrations, seed, topics
from ops.stack.parts import ROOT, Part, environment, make_development_keys, processes, services
from ops.stack.state import State

console = Console(stderr=True, highlight=False)
START_SECONDS = 60


class StartFailed(Exception):
    """A part did not come up; the message tells where to look."""


def up(state: State, *, parts_only: bool = False) -> None:
    """Start what does not run yet and wait until all of it is well."""
    began = time.monotonic()
    _avoid_taken_ports(state)
    make_development_keys(state)
    env = environment(state)
    (state.folder / "env.json").write_text(json.dumps(env, indent=2))
    os.environ.update(env)
    _start(state, services(state))
    asyncio.run(_prepare_contents())
    if not parts_only:
        _start(state, processes(state))
    console.print(f"[green]everything is up[/] after {time.monotonic() - began:.1f} s")


def down(state: State) -> None:
    """Stop what was started from here, last started first."""
    running = state.processes()
    order = [part.name for part in [*services(state), *processes(state)]]
    for name in sorted(running, key=order.index, reverse=True):
        process = running[name]
        # SIGINT is PostgreSQL's "fast" shutdown: it does not wait for its clients.
        process.send_signal(signal.SIGINT if name == "postgres" else signal.SIGTERM)
        try:
            process.wait(20)
        except psutil.TimeoutExpired:
            for child in [*process.children(recursive=True), process]:
                child.kill()
        console.print(f"[dim]{name} stopped[/]")
    state.remember({})


def status(state: State) -> dict[str, dict[str, Any]]:
    """Each part by name: address, process id and health."""
    running = state.processes()
    report = {}
    for part in [*services(state), *processes(state)]:
        process = running.get(part.name)
        entry = {
            "address": part.address,
            "pid": process.pid if process else None,
            "healthy": bool(process) and part.healthy(),
        }
        for name in (part.name, *part.aliases):
            report[name] = entry
    return report


def _start(state: State, parts: Sequence[Part]) -> None:
    running = state.processes()
    waiting: dict[str, tuple[Part, float]] = {}
    for part in parts:
        if part.name not in running:
            part.prepare()
            with state.log(part.name).open("ab") as log:
                process = subprocess.Popen(
                    part.command,
                    cwd=ROOT,
                    env={**os.environ, **part.env, "PYTHONPATH": str(ROOT)},
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    start_new_session=True,
                )
            running[part.name] = psutil.Process(process.pid)
            state.remember(running)
        waiting[part.name] = (part, time.monotonic())
    while waiting:
        for name, (part, began) in list(waiting.items()):
            took = time.monotonic() - began
            if part.healthy():
                console.print(f"[green]✓[/] {name:<13}{part.address:<58}[dim]{took:5.1f} s[/]")
                del waiting[name]
            elif not _alive(running[name]) or took > START_SECONDS:
                tail = state.log(name).read_text(errors="replace").splitlines()[-15:]
                raise StartFailed(f"{name} did not start. The end of {state.log(name)}:\n" + "\n".join(tail))
        time.sleep(0.1)


def _alive(process: psutil.Process) -> bool:
    try:
        return bool(process.status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


async def _prepare_contents() -> None:
    """Database, schema, development data, topics and bucket; each is left alone where it is there."""
    dsn = PostgresSettings().dsn
    admin = await asyncpg.connect(dsn.rsplit("/", 1)[0] + "/postgres")
    if not await admin.fetchval("SELECT 1 FROM pg_database WHERE datname = 'wishlist'"):
        await admin.execute("CREATE DATABASE wishlist")
    await admin.close()
    connection = await asyncpg.connect(dsn)
    await migrations.migrate(connection)
    await seed.seed(connection)
    await connection.close()
    await asyncio.to_thread(list, topics.ensure(KafkaSettings()))
    await ObjectStore(ObjectStoreSettings()).ensure_bucket()


def _avoid_taken_ports(state: State) -> None:
    """Where nothing of ours runs, a port may have been taken by somebody else since."""
    running = state.processes()
    taken = []
    for name, port in state.ports().items():
        owner = {"kafka_controller": "kafka", "aws": "s3"}.get(name, name)
        if owner in running:
            continue
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                taken.append(name)
    if taken:
        if running:
            sys.exit(f"ports of {', '.join(taken)} are taken by other programs: ./run down, then ./run up")
        state.forget_ports(taken)
