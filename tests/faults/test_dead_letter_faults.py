"""More poison than is put aside, and a DLQ that takes none: nothing is lost, nothing is stepped over unseen."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from confluent_kafka.admin import AdminClient
from confluent_kafka.admin._config import AlterConfigOpType, ConfigEntry, ConfigResource
from confluent_kafka.admin._resource import ResourceType

from config.settings import StreamSettings
from ops import topics
from schemas.ids import new_share_token
from sinks.share_store import GROUP
from tests.cluster import Cluster
from tests.lab import CODEC, Lab, event, eventually, expected_totals, free_port, health, open_lab

PUT_ASIDE = StreamSettings().max_consecutive_rejects

pytestmark = pytest.mark.timeout(900)


@pytest.fixture
async def lab(tmp_path: Path, cluster: Cluster) -> AsyncIterator[Lab]:
    async with open_lab(tmp_path, cluster.bootstrap_servers) as lab:
        lab.env["STREAM_RETRY_MAX_SECONDS"] = "1"
        yield lab


def group(lab: Lab) -> str:
    return GROUP + lab.env["STREAM_GROUP_SUFFIX"]


async def says(port: str, state: str, words: str) -> None:
    """Wait until the worker is in that state, with *words* in its reason."""

    async def reached() -> bool:
        found = await asyncio.to_thread(health, port, "healthz")
        return found[1] == state and words in found[2]

    await eventually(reached, 180, f"{state}: {words}")


async def test_more_poison_than_is_put_aside_stops_the_group_until_somebody_looks(lab: Lab) -> None:
    token, port = new_share_token(), free_port()
    good = [event(token=token) for _ in range(2)]
    good_values = [(token, CODEC.encode(one)) for one in good]
    poison = [(token, b"poison %d" % number) for number in range(PUT_ASIDE + 1)]
    lab.produce([good_values[0], *poison, good_values[1]])
    worker = lab.start(STREAM_METRICS_PORT=port)
    await says(port, "stopped", f"{PUT_ASIDE} records in a row were refused")
    assert len(lab.dead_letters(PUT_ASIDE + 1, within=5)) == PUT_ASIDE
    assert await lab.totals() == expected_totals(good[:1]), "what is behind the poison waits"
    marks = await lab.watermarks(group(lab))
    assert sum(marks.values()) == 1 + PUT_ASIDE

    # It stays so however often it is looked at, and a restart is what its reason says it takes: after a look.
    assert f"{PUT_ASIDE:,}" in await lab.wishlist("dlq", "list")
    words = ("--group", GROUP, "--reason", "a producer's bug, mended", "--yes")
    assert f"{PUT_ASIDE:,} letters discarded" in await lab.wishlist("dlq", "discard", *words)
    worker.send_signal(signal.SIGTERM)
    assert await asyncio.to_thread(worker.wait, 30) == 0
    lab.start()
    await lab.applied(group(lab))
    assert await lab.totals() == expected_totals(good)
    values = sorted(value or b"" for _, value in lab.dead_letters(PUT_ASIDE + 1))
    assert values == sorted(value for _, value in poison), "each once"


async def test_the_dlq_topic_is_gone_while_poison_is_settled(lab: Lab) -> None:
    token, port = new_share_token(), free_port()
    good = [event(token=token) for _ in range(2)]
    admin = AdminClient({"bootstrap.servers": lab.kafka.bootstrap_servers})
    admin.delete_topics([lab.kafka.dlq_topic])[lab.kafka.dlq_topic].result(30)
    lab.produce([(token, CODEC.encode(good[0])), (token, b"poison"), (token, CODEC.encode(good[1]))])
    lab.start(STREAM_METRICS_PORT=port)
    await says(port, "waiting", "DLQ")
    assert sum((await lab.watermarks(group(lab))).values()) == 1, "it does not step over what it could not put aside"
    list(topics.ensure(lab.kafka))
    await lab.applied(group(lab))
    assert await lab.totals() == expected_totals(good)
    assert [value for _, value in lab.dead_letters(1)] == [b"poison"]


async def test_the_dlq_cannot_be_written_safely_while_poison_is_settled(lab: Lab, cluster: Cluster) -> None:
    """It wants three replicas, and one broker is away. Only what is acknowledged counts as put aside."""
    token, port = new_share_token(), free_port()
    good = [event(token=token) for _ in range(2)]
    admin = AdminClient({"bootstrap.servers": lab.kafka.bootstrap_servers})
    strict = ConfigEntry("min.insync.replicas", "3", incremental_operation=AlterConfigOpType.SET)
    resource = ConfigResource(ResourceType.TOPIC, lab.kafka.dlq_topic, incremental_configs=[strict])
    admin.incremental_alter_configs([resource])[resource].result(30)
    worker = lab.start(STREAM_METRICS_PORT=port)
    lab.produce([(token, CODEC.encode(good[0]))])
    await lab.applied(group(lab))
    cluster.kill(3)
    lab.produce([(token, b"poison"), (token, CODEC.encode(good[1]))])
    await says(port, "waiting", "DLQ")
    # A worker that dies over it leaves it to the next one.
    worker.kill()
    worker.wait()
    lab.start()
    await asyncio.sleep(3)
    assert await lab.totals() == expected_totals(good[:1])
    cluster.start(3)
    await lab.applied(group(lab))
    assert await lab.totals() == expected_totals(good)
    # A letter whose acknowledgement was lost is there again, and says the same.
    letters = lab.dead_letters(1)
    assert {(headers["original_offset"], value) for headers, value in letters} == {("1", b"poison")}
