"""Three brokers on this machine, of which any may be killed and started again."""

from __future__ import annotations

import random
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient

from ops.stack.parts import CLUSTER_ID, ROOT, kafka_java
from ops.stack.state import CHOICE, is_free

NUMBERS = (1, 2, 3)
START_SECONDS = 240.0


class Cluster:
    """Brokers 1, 2 and 3; each is a controller too. Topics of theirs want three replicas, and two that are in sync."""

    def __init__(self, folder: Path) -> None:
        ports = [port for port in random.sample(CHOICE, 1_000) if is_free(port)]
        self._brokers = dict(zip(NUMBERS, ports, strict=False))
        self._controllers = dict(zip(NUMBERS, ports[len(NUMBERS) :], strict=False))
        self._folder = folder
        self.data = {number: folder / str(number) for number in NUMBERS}
        self._java = kafka_java(ROOT / ".state" / "cache")
        self._processes: dict[int, subprocess.Popen[bytes]] = {}
        self.bootstrap_servers = ",".join(f"127.0.0.1:{port}" for port in self._brokers.values())

    def open(self) -> None:
        """Format and start all three."""
        formatting = []
        for number in NUMBERS:
            properties = self._write_properties(number)
            words = ["kafka.tools.StorageTool", "format", "-t", CLUSTER_ID, "-c", str(properties)]
            with (self._folder / f"{number}.log").open("wb") as log:
                formatting.append(subprocess.Popen([*self._java, *words], stdout=log, stderr=log))
        assert [process.wait(START_SECONDS) for process in formatting] == [0, 0, 0]
        self.start(*NUMBERS)

    def close(self) -> None:
        """Kill what runs."""
        self.kill(*self._processes)

    def start(self, *numbers: int) -> None:
        """Start brokers that do not run, and wait until all three have registered."""
        for number in numbers:
            self._start(number)

        def registered(admin: AdminClient) -> bool:
            for number in numbers:
                # A broker that is not caught up in its time gives up; whoever runs one starts it again.
                if not self.is_alive(number):
                    self._start(number)
            return len(admin.list_topics(timeout=2).brokers) == len(NUMBERS)

        self._until(registered, "three brokers")

    def revive(self) -> None:
        """Start the brokers that a test has left behind dead."""
        if dead := [number for number in NUMBERS if number not in self._processes or not self.is_alive(number)]:
            self.start(*dead)

    def _start(self, number: int) -> None:
        with (self._folder / f"{number}.log").open("ab") as log:
            words = [*self._java, "kafka.Kafka", str(self._folder / f"{number}.properties")]
            self._processes[number] = subprocess.Popen(words, stdout=log, stderr=log)

    def kill(self, *numbers: int) -> None:
        """SIGKILL brokers, and wait until they are gone."""
        gone = [self._processes.pop(number) for number in numbers]
        for process in gone:
            process.kill()
        for process in gone:
            process.wait(10)

    def move(self, number: int, folder: Path) -> None:
        """Put the data of a broker that does not run into another folder."""
        # Its indices are mostly holes.
        subprocess.run(["cp", "-a", "--sparse=always", f"{self.data[number]}/.", str(folder)], check=True)
        self.data[number] = folder
        self._write_properties(number)

    def is_alive(self, number: int) -> bool:
        """Whether the broker's process runs."""
        return self._processes[number].poll() is None

    def leader_of(self, topic: str, partition: int) -> int:
        """The broker that leads the partition by now; waits where there is none."""
        found = -1

        def led(admin: AdminClient) -> bool:
            nonlocal found
            found = admin.list_topics(topic, timeout=2).topics[topic].partitions[partition].leader
            return found in self._processes

        self._until(led, f"a leader of {topic}[{partition}]")
        return found

    def heal(self, topics: Sequence[str]) -> None:
        """Wait until each partition of *topics* has its three replicas in sync."""

        def whole(admin: AdminClient) -> bool:
            known = admin.list_topics(timeout=2).topics
            return all(len(one.isrs) == len(NUMBERS) for topic in topics for one in known[topic].partitions.values())

        self._until(whole, f"all replicas of {', '.join(topics)} in sync")

    def _until(self, true: Callable[[AdminClient], bool], what: str) -> None:
        admin = AdminClient({"bootstrap.servers": self.bootstrap_servers, "log_level": 0})
        give_up = time.monotonic() + START_SECONDS
        while True:
            try:
                if true(admin):
                    return
            except KafkaException:
                pass
            assert time.monotonic() < give_up, f"not within {START_SECONDS} s: {what}"
            time.sleep(0.2)

    def _write_properties(self, number: int) -> Path:
        broker, controller = f"127.0.0.1:{self._brokers[number]}", f"127.0.0.1:{self._controllers[number]}"
        lines = {
            "process.roles": "broker,controller",
            "node.id": str(number),
            "controller.quorum.voters": ",".join(f"{n}@127.0.0.1:{port}" for n, port in self._controllers.items()),
            "listeners": f"PLAINTEXT://{broker},CONTROLLER://{controller}",
            "advertised.listeners": f"PLAINTEXT://{broker}",
            "controller.listener.names": "CONTROLLER",
            "listener.security.protocol.map": "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT",
            "log.dirs": str(self.data[number]),
            "auto.create.topics.enable": "false",
            "offsets.topic.replication.factor": "3",
            "offsets.topic.num.partitions": "8",
            "min.insync.replicas": "2",
            "group.initial.rebalance.delay.ms": "0",
            # Who was killed is missed sooner than after nine seconds: what is tested is what happens then.
            "broker.session.timeout.ms": "4000",
            "broker.heartbeat.interval.ms": "500",
            # A machine that stands still for two seconds would have the controllers elect another again and again.
            "controller.quorum.fetch.timeout.ms": "6000",
            "controller.quorum.request.timeout.ms": "6000",
        }
        path = self._folder / f"{number}.properties"
        path.write_text("".join(f"{key}={value}\n" for key, value in lines.items()))
        return path


@contextmanager
def open_cluster() -> Iterator[Cluster]:
    """Three brokers that live as long as the block, in a folder that goes with them."""
    folder = Path(tempfile.mkdtemp(prefix="wishlist-cluster-"))
    cluster = Cluster(folder)
    try:
        cluster.open()
        yield cluster
    finally:
        cluster.close()
        shutil.rmtree(folder, ignore_errors=True)
