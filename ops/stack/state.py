"""What is remembered between two commands: ports, and the processes that were started from here."""

from __future__ import annotations

import json
import os
import socket
from dataclasses import dataclass
from pathlib import Path

import psutil

PORTS = (
    "kafka", "kafka_controller", "postgres", "redis", "aws", "renderer", "api",
    "persist", "preview", "dead_letters",
)  # fmt: skip


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

    def ports(self) -> dict[str, int]:
        """A port for each part: picked free the first time, then kept."""
        path = self.folder / "ports.json"
        ports: dict[str, int] = json.loads(path.read_text()) if path.exists() else {}
        missing = [name for name in PORTS if name not in ports]
        sockets = []
        for name in missing:
            listener = socket.socket()
            listener.bind(("127.0.0.1", 0))
            sockets.append(listener)
            ports[name] = listener.getsockname()[1]
        for listener in sockets:
            listener.close()
        if missing:
            path.write_text(json.dumps(ports, indent=2))
        return ports

    def forget_ports(self, names: list[str]) -> None:
        """Pick other ports for *names* next time: somebody else has taken these."""
        path = self.folder / "ports.json"
        kept = {name: port for name, port in self.ports().items() if name not in names}
        path.write_text(json.dumps(kept, indent=2))

    def processes(self) -> dict[str, psutil.Process]:
        """The processes that were started from here and still run."""
        path = self.folder / "processes.json"
        known = json.loads(path.read_text()) if path.exists() else {}
        alive = {}
        for name, (pid, created) in known.items():
            try:
                process = psutil.Process(pid)
                # A number can be given to another process later; the time it began tells them apart.
                if abs(process.create_time() - created) < 2 and process.status() != psutil.STATUS_ZOMBIE:
                    alive[name] = process
            except psutil.NoSuchProcess:
                continue
        return alive

    def remember(self, processes: dict[str, psutil.Process]) -> None:
        """Write down what runs."""
        entries = {name: (process.pid, process.create_time()) for name, process in processes.items()}
        (self.folder / "processes.json").write_text(json.dumps(entries, indent=2))
