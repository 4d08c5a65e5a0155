"""What the checks ask: each part is reached once, whichever checks want it; who does not answer is :class:`Away`."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from threading import Thread
from typing import Any, TypeVar

import asyncpg
import httpx
from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient, ClusterMetadata  # type: ignore[attr-defined]  # exported, without saying so
from redis.asyncio import Redis
from redis.exceptions import RedisError

from clients import logs
from clients.cache import open_redis
from config.settings import DoctorSettings, KafkaSettings, PostgresSettings, RedisSettings, load
from ops.doctor.pages import Page, scrape

T = TypeVar("T")
# How long a part may take to answer one question.
ANSWER_SECONDS = 3.0


class Away(Exception):
    """*part* does not answer; *why* in its own words."""

    def __init__(self, part: str, why: object) -> None:
        super().__init__(part, why)
        self.part = part
        self.why = " ".join(str(why).split()) or type(why).__name__


async def aside(work: Callable[[], T]) -> T:
    """What *work* brings, in a thread that nobody waits for when time is up: some drivers try for minutes."""
    loop = asyncio.get_running_loop()
    done: asyncio.Future[T] = loop.create_future()

    def tell(settle: Callable[[Any], None], outcome: object) -> None:
        if not done.done():
            settle(outcome)

    def run() -> None:
        settle: Callable[[Any], None]
        outcome: object
        try:
            settle, outcome = done.set_result, work()
        except Exception as error:
            settle, outcome = done.set_exception, error
        with suppress(RuntimeError):  # the loop has closed meanwhile
            loop.call_soon_threadsafe(tell, settle, outcome)

    Thread(target=run, daemon=True).start()
    return await done


class Surroundings:
    """Lives as long as one look around; connections are made on first use."""

    def __init__(self, settings: DoctorSettings) -> None:
        self.settings = settings
        self.kafka = load(KafkaSettings)
        self._postgres = load(PostgresSettings)
        self._redis_settings = load(RedisSettings)
        self._known: dict[str, asyncio.Task[Any]] = {}

    # --- PostgreSQL ---------------------------------------------------------------------------------------------

    async def rows(self, sql: str, *arguments: object) -> list[asyncpg.Record]:
        """What a query brings."""
        pool: asyncpg.Pool = await self._once("PostgreSQL", self._open_pool)
        try:
            return list(await pool.fetch(sql, *arguments))
        except (asyncpg.UndefinedTableError, asyncpg.UndefinedColumnError) as error:
            raise Away("the schema", f"{error}; see the check migrations") from error
        except (OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
            raise Away("PostgreSQL", error) from error

    async def row(self, sql: str, *arguments: object) -> asyncpg.Record:
        """The first row of what a query brings."""
        return (await self.rows(sql, *arguments))[0]

    async def _open_pool(self) -> asyncpg.Pool:
        try:
            pool = asyncpg.create_pool(
                self._postgres.dsn,
                min_size=1,
                # Few: where connections are short, looking must not take the last ones.
                max_size=3,
                timeout=ANSWER_SECONDS,
                command_timeout=ANSWER_SECONDS,
                server_settings={"application_name": "wishlist-doctor", "default_transaction_read_only": "on"},
            )
            async with asyncio.timeout(ANSWER_SECONDS):
                return await pool
        except (OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
            raise Away("PostgreSQL", error) from error

    # --- Redis --------------------------------------------------------------------------------------------------

    async def redis(self, command: Callable[[Redis], Awaitable[T]]) -> T:
        """What Redis answers to *command*."""
        client: Redis = await self._once("Redis", self._open_redis)
        try:
            return await command(client)
        except (RedisError, OSError, TimeoutError) as error:
            raise Away("Redis", error) from error

    async def _open_redis(self) -> Redis:
        return open_redis(self._redis_settings.model_copy(update={"timeout_seconds": ANSWER_SECONDS}))

    @property
    def redis_patience(self) -> float:
        """How long the application waits for Redis, in seconds."""
        return self._redis_settings.timeout_seconds

    # --- Kafka --------------------------------------------------------------------------------------------------

    async def cluster(self) -> ClusterMetadata:
        """Brokers, topics and partitions."""
        found: ClusterMetadata = await self._once(
            "Kafka", lambda: self.brokers(lambda admin: admin.list_topics(timeout=ANSWER_SECONDS))
        )
        return found

    async def brokers(self, ask: Callable[[AdminClient], T]) -> T:
        """What the brokers answer to *ask*, which blocks."""
        admin: AdminClient = await self._once("Kafka's client", self._open_admin)
        try:
            return await aside(lambda: ask(admin))
        except (KafkaException, TimeoutError) as error:
            said = error.args[0].str() if isinstance(error, KafkaException) else error
            raise Away("Kafka", said) from error

    async def _open_admin(self) -> AdminClient:
        # Quiet: that brokers are away is a finding, not a line between the findings.
        return AdminClient({"bootstrap.servers": self.kafka.bootstrap_servers, "log_level": 0}, logger=logs.librdkafka)

    # --- our own processes ----------------------------------------------------------------------------------------

    async def pages(self) -> list[Page]:
        """What each process of DOCTOR_PROCESSES says of itself."""
        found: list[Page] = await self._once("pages", lambda: scrape(self.settings.named_processes))
        return found

    async def pages_later(self) -> list[Page]:
        """The same, DOCTOR_WATCH_SECONDS later: what has happened in between is what happens now."""

        async def later() -> list[Page]:
            await self.pages()
            await asyncio.sleep(self.settings.watch_seconds)
            return await scrape(self.settings.named_processes)

        found: list[Page] = await self._once("later pages", later)
        return found

    def http(self) -> httpx.AsyncClient:
        """A client for what speaks HTTP; the caller closes it."""
        return httpx.AsyncClient(timeout=2 * ANSWER_SECONDS)

    async def close(self) -> None:
        """Leave everybody."""
        for name, task in self._known.items():
            if not task.done():
                task.cancel()
            elif not task.cancelled() and task.exception() is None:
                if name == "PostgreSQL":
                    task.result().terminate()
                elif name == "Redis":
                    await task.result().aclose()

    async def _once(self, name: str, make: Callable[[], Awaitable[T]]) -> T:
        """What *make* has made, or is making for somebody else already: a check that gives up disturbs no other."""

        async def run() -> T:
            return await make()

        if name not in self._known:
            self._known[name] = asyncio.create_task(run())
        made: T = await asyncio.shield(self._known[name])
        return made
