"""What is remembered between two commands: ports, and the processes that were started from here."""

from __future__ import annotations

import fcntl
import json
import os
import random
import socket
from collections.abc import Collection, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

PORTS = (
    "kafka", "kafka_controller", "postgres", "redis", "aws", "renderer", "api",
    "bigquery", "bigquery_storage", "push_services",
    "persist", "preview", "digest", "push", "webhook", "warehouse", "segment", "archive", "dead_letters", "dashboard",
)  # fmt: skip
# Below the range from which Linux gives ports to outgoing connections: while a part is down, no client of anybody
# can be sitting on its port by chance.
CHOICE = range(15_000, 32_000)


@dataclass(frozen=True)
class State:
    """The state folder."""

    folder: Path

    @classmethod
    def here(cls) -> State:
        """The folder that ``WISHLIST_STATE`` names."""
        folder = Path(os.environ["WISHLIST_STATE"]).resolve()
        (folder / "logs").mkdir(parents=True, exist_ok=True)
        return cls(folder)

    @property
    def cache(self) -> Path:
        """What was downloaded, shared by every state folder of this checkout."""
        return Path(__file__).parent.parent.parent / ".state" / "cache"

    def log(self, name: str) -> Path:
        """The log file of one process."""
        return self.folder / "logs" / f"{name}.log"

    @contextmanager
    def changing(self) -> Iterator[None]:
        """Only one ``up`` or ``down`` at a time; a second one waits."""
        with (self.folder / "lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield

    def write(self, name: str, content: Any) -> None:
        """Write a JSON file whole or not at all: tests read these while ``up`` runs."""
        fresh = self.folder / f"{name}.{os.getpid()}"
        fresh.write_text(json.dumps(content, indent=2) + "\n")
        fresh.replace(self.folder / name)

    def ports(self) -> dict[str, int]:
        """A port for each part: picked free the first time, then kept."""
        ports: dict[str, int] = self._read("ports.json")
        missing = [name for name in PORTS if name not in ports]
        for name in missing:
            ports[name] = next(
                port for port in random.sample(CHOICE, 1_000) if port not in ports.values() and is_free(port)
            )
        if missing:
            self.write("ports.json", ports)
        return ports

    def forget_ports(self, names: Iterable[str]) -> None:
        """Pick other ports for *names* next time: somebody else has taken these."""
        self.write("ports.json", {name: port for name, port in self.ports().items() if name not in names})

    def processes(self) -> dict[str, psutil.Process]:
        """The processes that were started from here and still run."""
        alive = {}
        for name, (pid, created) in self._read("processes.json").items():
            try:
                process = psutil.Process(pid)
                # A number can be given to another process later; the time it began tells them apart.
                if abs(process.create_time() - created) < 2 and process.status() != psutil.STATUS_ZOMBIE:
                    alive[name] = process
            except psutil.NoSuchProcess:
                continue
        return alive

    def wanted(self) -> set[str]:
        """Names of what was started from here and not stopped from here since, whether it still runs or not."""
        return set(self._read("processes.json"))

    def remember(self, name: str, process: psutil.Process) -> None:
        """Write down what was started."""
        self.write("processes.json", {**self._read("processes.json"), name: (process.pid, process.create_time())})

    def forget(self, names: Collection[str]) -> None:
        """What was stopped on purpose is wanted no more."""
        kept = {name: entry for name, entry in self._read("processes.json").items() if name not in names}
        self.write("processes.json", kept)

    def environment(self) -> dict[str, str]:
        """The settings of this stack's processes, as ``up`` wrote them down."""
        return self._read("env.json")

    def interventions(self) -> dict[str, dict[str, Any]]:
        """What the supervisor had to do, by part: ``restarts``, and ``given_up``."""
        return self._read("supervisor.json")

    def _read(self, name: str) -> dict[str, Any]:
        path = self.folder / name
        content: dict[str, Any] = json.loads(path.read_text()) if path.exists() else {}
        return content


def is_free(port: int) -> bool:
    """Whether nothing listens on *port* of this machine."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True
