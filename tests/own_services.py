"""PostgreSQL and Redis of a test's own, which may be stopped and killed: those of the running parts are everybody's."""

from __future__ import annotations

import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import redis

from ops.stack import manager
from ops.stack.parts import services
from ops.stack.state import State

NAMES = ("postgres", "redis")
_START_SECONDS = 60.0


class OwnServices:
    """Started as ``./run up`` starts them, on ports of their own."""

    def __init__(self, folder: Path) -> None:
        (folder / "logs").mkdir()
        self._state = State(folder)
        self._parts = {part.name: part for part in services(self._state) if part.name in NAMES}

    @property
    def dsn(self) -> str:
        """The PostgreSQL server, by a database that it always has."""
        return self._parts["postgres"].address.rsplit("/", 1)[0] + "/postgres"

    @property
    def redis_url(self) -> str:
        """The Redis server."""
        return self._parts["redis"].address

    def start(self, *names: str) -> None:
        """Start what does not run, and wait until it answers."""
        manager.launch(self._state, [self._parts[name] for name in names])
        give_up = time.monotonic() + _START_SECONDS
        for name in names:
            while not self._parts[name].healthy():
                log = self._state.log(name)
                assert time.monotonic() < give_up, f"{name} did not start: {log.read_text()[-2_000:]}"
                time.sleep(0.1)

    def stop(self, *names: str) -> None:
        """Stop it as one does by hand: clients are cut off in whatever they are doing, and what is kept is in order."""
        running = self._state.processes()
        manager.stop({name: running[name] for name in names if name in running})

    def kill(self, name: str) -> None:
        """SIGKILL, as an empty battery does."""
        process = self._state.processes()[name]
        family = [process, *process.children(recursive=True)]
        for one in family:
            one.kill()
        for one in family:
            one.wait(10)

    def restart(self, name: str) -> None:
        """Stop it and start it again."""
        self.stop(name)
        self.start(name)

    def open_redis(self) -> redis.Redis:
        """A connection to look into it, or to empty it."""
        return redis.Redis.from_url(self.redis_url, decode_responses=True)


@contextmanager
def open_services() -> Iterator[OwnServices]:
    """Both, for as long as the block lives, in a folder that goes with them."""
    folder = Path(tempfile.mkdtemp(prefix="wishlist-services-"))
    # PostgreSQL runs as another user where the tests run as root: it must be able to enter.
    folder.chmod(0o755)
    own = OwnServices(folder)
    try:
        own.start(*NAMES)
        yield own
    finally:
        own.stop(*NAMES)
        shutil.rmtree(folder, ignore_errors=True)
