"""A whole stack for tests that stop its parts: own folder, own ports, started and stopped by ``./run``."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import uuid4

import asyncpg
import jwt
import psutil

ROOT = Path(__file__).parent.parent


@dataclass(frozen=True)
class Owner:
    """A user of one test with a list of three products, and an Authorization header."""

    user: str
    wishlist: str
    headers: dict[str, str]


@dataclass
class Stack:
    """One running stack. *settings* are environment variables of its processes beside those of ``./run up``."""

    folder: Path
    settings: dict[str, str] = field(default_factory=dict)
    parts: dict[str, dict[str, Any]] = field(default_factory=dict)

    def run(self, *words: str) -> str:
        """``./run`` for this stack; returns what it printed."""
        done = self._run(*words)
        assert done.returncode == 0, f"./run {' '.join(words)}:\n{done.stdout[-1000:]}\n{done.stderr[-3000:]}"
        return done.stdout

    def up(self) -> None:
        """Start what does not run, and note where everything is. Nobody starts again what a test kills."""
        self.run("up", "--unsupervised")
        # On a busy machine one that has just been healthy may answer late.
        eventually(self._healthy, 60)

    def address(self, part: str) -> str:
        """Where *part* listens."""
        return str(self.parts[part]["address"])

    def env(self, name: str) -> str:
        """A setting of the stack's processes."""
        return str(json.loads((self.folder / "env.json").read_text())[name])

    def signal(self, part: str, number: signal.Signals) -> None:
        """Send *number* to *part* and to everything that it has started (PostgreSQL's backends, the browser)."""
        for process in self._tree(part):
            process.send_signal(number)

    def kill(self, part: str) -> None:
        """SIGKILL *part*, and wait until it is gone."""
        processes = self._tree(part)
        for process in processes:
            process.kill()
        psutil.wait_procs(processes, timeout=10)

    @contextmanager
    def away(self, part: str, how: str) -> Iterator[None]:
        """*part* is "killed", and started again at the end; or "hung": alive, its connections open, but frozen."""
        if how == "killed":
            self.kill(part)
            try:
                yield
            finally:
                self.up()
            return
        self.signal(part, signal.SIGSTOP)
        try:
            yield
        finally:
            self.signal(part, signal.SIGCONT)

    def sql(self, statement: str, *arguments: Any) -> list[Any]:
        """Run one statement in this stack's database."""

        async def work() -> list[Any]:
            connection = await asyncpg.connect(self.address("postgres"), timeout=10)
            try:
                return list(await connection.fetch(statement, *arguments))
            finally:
                await connection.close()

        return asyncio.run(work())

    def new_owner(self) -> Owner:
        """A new user with a list."""
        name = uuid4().hex[:12]
        owner = Owner(f"user_{name}", f"wl_{name}", self.sign_in(f"user_{name}"))
        self.sql("INSERT INTO users (public_id, display_name) VALUES ($1, 'Maya C.')", owner.user)
        self.sql(
            "INSERT INTO wishlists (public_id, owner_id, title) SELECT $1, id, 'Rainy days' FROM users "
            "WHERE public_id = $2",
            owner.wishlist,
            owner.user,
        )
        self.sql(
            "INSERT INTO wishlist_items (public_id, wishlist_id, product_id) SELECT $1 || c.id, w.id, c.id "
            "FROM wishlists w, unnest(ARRAY['prod_1a2b3c', 'prod_4d5e6f', 'prod_7g8h9i']) AS c (id) "
            "WHERE w.public_id = $2",
            f"item_{name}_",
            owner.wishlist,
        )
        return owner

    def sign_in(self, user: str) -> dict[str, str]:
        """An Authorization header for *user*."""
        now = int(time.time())
        claims = {
            "sub": user,
            "iss": "https://auth.vantage.com",
            "aud": "wishlist-api",
            "iat": now,
            "exp": now + 3_600,
        }
        key = Path(self.env("JWT_PRIVATE_KEY_FILE")).read_text()
        return {"Authorization": f"Bearer {jwt.encode(claims, key, algorithm='RS256')}"}

    def _run(self, *words: str) -> subprocess.CompletedProcess[str]:
        env = {**os.environ, **self.settings, "WISHLIST_STATE": str(self.folder)}
        return subprocess.run(
            [str(ROOT / "run"), *words], cwd=ROOT, env=env, capture_output=True, text=True, timeout=150, check=False
        )

    def _healthy(self) -> bool:
        looked = self._run("status", "--json")
        self.parts = json.loads(looked.stdout)
        return looked.returncode == 0

    def _tree(self, part: str) -> list[psutil.Process]:
        process = psutil.Process(self.parts[part]["pid"])
        return [process, *process.children(recursive=True)]


@contextmanager
def own_stack(**settings: str) -> Iterator[Stack]:
    """A stack that lives as long as the block."""
    folder = Path(tempfile.mkdtemp(prefix="wishlist-stack-"))
    # PostgreSQL runs as another user where the tests run as root: it must be able to enter.
    folder.chmod(0o755)
    stack = Stack(folder, settings)
    try:
        stack.up()
        yield stack
    finally:
        stack.run("down")
        shutil.rmtree(folder, ignore_errors=True)


def eventually(check: Callable[[], bool], seconds: float = 30) -> None:
    """Wait until *check* holds."""
    give_up = time.monotonic() + seconds
    while not check():
        assert time.monotonic() < give_up, f"did not come true within {seconds} s"
        time.sleep(0.2)
