"""(e) Kafka Connect 4.2 with Debezium's JDBC sink: each event upserted as one flat row, from JSON.

A lesser work than the others': no counters, no visitors, no order-independent settings, no dead letters.
"""

from __future__ import annotations

import json
import os
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from urllib.parse import urlsplit

from schemas.event import ShareEvent

HERE = Path(__file__).parent
TABLE = "connect_events"
COPY = "dependency:copy-dependencies"
_FIELDS = (
    "event_id", "event_type", "wishlist_id", "user_id", "share_token", "share_channel", "share_id", "timestamp",
    "user_agent", "referrer", "country", "platform", "visitor_hash",
)  # fmt: skip
_SCHEMA = {
    "type": "struct",
    "optional": False,
    "fields": [{"field": name, "type": "string", "optional": name != "event_id"} for name in _FIELDS],
}


def json_topic(events_topic: str) -> str:
    """Where this rival reads the same events as JSON."""
    return f"{events_topic}.json"


def as_json(events: Sequence[ShareEvent]) -> Iterator[tuple[str, bytes]]:
    """Key and value of each event, as Connect's JsonConverter takes them."""
    for event in events:
        payload = {name: None if (value := getattr(event, name)) is None else str(value) for name in _FIELDS}
        yield event.share_token, json.dumps({"schema": _SCHEMA, "payload": payload}).encode()


def jars(cache: Path) -> Path:
    """The folder of Connect's jars, fetched once."""
    folder = cache / "kafka-connect"
    if not folder.exists():
        subprocess.run(
            ["mvn", "-q", "-B", "-f", str(HERE / "connect-pom.xml"), COPY, f"-DoutputDirectory={folder}"],
            check=True,
        )
    return folder


def main() -> None:
    """Run Connect standalone in the foreground."""
    folder = Path(tempfile.mkdtemp())
    dsn = urlsplit(os.environ["POSTGRES_DSN"])
    worker = {
        "bootstrap.servers": os.environ["KAFKA_BOOTSTRAP_SERVERS"],
        "key.converter": "org.apache.kafka.connect.storage.StringConverter",
        "value.converter": "org.apache.kafka.connect.json.JsonConverter",
        "value.converter.schemas.enable": "true",
        "offset.storage.file.filename": str(folder / "offsets"),
        "offset.flush.interval.ms": "1000",
        "plugin.discovery": "only_scan",
        "listeners": "http://127.0.0.1:0",
        "consumer.max.poll.records": "2000",
        "consumer.auto.offset.reset": "earliest",
    }
    sink = {
        "name": f"jdbc-{folder.name}",
        "connector.class": "io.debezium.connector.jdbc.JdbcSinkConnector",
        "tasks.max": "1",
        "topics": json_topic(os.environ["KAFKA_EVENTS_TOPIC"]),
        "connection.url": f"jdbc:postgresql://{dsn.hostname}:{dsn.port}{dsn.path}?reWriteBatchedInserts=true",
        "connection.username": "wishlist",
        "connection.password": "",
        "insert.mode": "upsert",
        "primary.key.mode": "record_value",
        "primary.key.fields": "event_id",
        "schema.evolution": "basic",
        "collection.name.format": TABLE,
        "batch.size": "2000",
        "use.reduction.buffer": "true",
    }
    for name, settings in (("worker", worker), ("sink", sink)):
        (folder / f"{name}.properties").write_text("".join(f"{key}={value}\n" for key, value in settings.items()))
    classpath = f"{jars(Path(os.environ['WISHLIST_CACHE']))}/*"
    command = ["java", "-Xmx1g", "-cp", classpath, "org.apache.kafka.connect.cli.ConnectStandalone"]
    os.execvp("java", [*command, str(folder / "worker.properties"), str(folder / "sink.properties")])


if __name__ == "__main__":
    main()
