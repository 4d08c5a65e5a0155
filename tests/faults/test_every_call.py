"""Every call that a sink makes of a driver fails once, in each way it can: each event is there once all the same."""

from __future__ import annotations

from collections.abc import AsyncIterator
from itertools import count

import pytest
import pytest_asyncio

from clients.postgres import Database
from config.settings import PostgresSettings
from ops.replay.targets import targets
from schemas.event import ShareEvent
from tests.engine_bench import TOPIC, Bench, Log
from tests.every_sink import SINKS, House, SinkUnderTest, lively_story, open_house
from tests.lab import CODEC, open_lab
from tests.trap import HOW, Trap

# So many that a share is made, looked at, taken from and ended.
EVENTS = 41

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(900)]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def house(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[House]:
    async with open_lab(tmp_path_factory.mktemp("calls")) as lab, open_house(lab) as house:
        yield house


@pytest.mark.parametrize("sink", SINKS, ids=lambda sink: sink.agent)
async def test_each_call_fails_once(
    house: House, sink: SinkUnderTest, trap: Trap, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in {**house.lab.env, "KAFKA_EVENTS_TOPIC": TOPIC}.items():
        monkeypatch.setenv(name, value)
    target, group, log = targets()[sink.agent], sink.group_in(house.lab), Log()
    events: list[ShareEvent] = []
    for how in HOW:
        for number in count(1):
            portion = lively_story(EVENTS)
            for event in portion:
                log.append(0, CODEC.encode(event))
            events += portion
            database = Database(PostgresSettings(dsn=house.lab.dsn))
            bench = Bench(target.make(database, group), log=log, decode=target.decode(CODEC, group))
            trap.set(number, how)
            await bench.run(EVENTS // 2 + 1, within=60)
            sprung = trap.has_sprung
            trap.set(0)
            await (await database.pool()).close()
            assert not bench.dlq.letters
            if not sprung:
                break
        assert number > 5, "there are calls to fail"
        print(f"{sink.agent}: {number - 1} calls, each failed once: {how}")
        assert await sink.held(house, group) == sink.owed(events), how
