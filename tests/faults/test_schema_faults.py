"""Producers and readers of different ages on one topic, and a registry that is away when it is asked."""

from __future__ import annotations

import asyncio
import io
import json
from copy import deepcopy
from pathlib import Path
from typing import Any

import fastavro

from clients.registry import open_codec
from schemas.codec import FOLDER, WRITER_ID, load_schemas, to_record
from schemas.event import EventType, ShareEvent
from schemas.ids import new_share_token, uuid7
from sinks.share_store import GROUP
from tests.lab import Lab, event, eventually, expected_totals, free_port, health
from tests.schema_registry import FakeRegistry, served

SCHEMAS = load_schemas()
TODAY: dict[str, Any] = json.loads((FOLDER / f"share_event.v{WRITER_ID}.avsc").read_text())


def with_a_field_more() -> dict[str, Any]:
    schema = deepcopy(TODAY)
    schema["fields"].append({"name": "campaign", "type": ["null", "string"], "default": None})
    return schema


def with_a_field_less() -> dict[str, Any]:
    schema = deepcopy(TODAY)
    schema["fields"] = [field for field in schema["fields"] if field["name"] != "variant"]
    return schema


def with_a_type_more() -> dict[str, Any]:
    schema = deepcopy(TODAY)
    schema["fields"][0]["type"]["symbols"].insert(1, "share_forwarded")
    return schema


def written(schema: dict[str, Any], schema_id: int, one: ShareEvent, **changes: Any) -> bytes:
    """*one* as a producer with that schema writes it."""
    buffer = io.BytesIO(b"\0" + schema_id.to_bytes(4, "big"))
    buffer.seek(5)
    fastavro.schemaless_writer(buffer, fastavro.parse_schema(deepcopy(schema)), {**to_record(one), **changes})
    return buffer.getvalue()


async def test_producers_of_every_age_and_a_registry_that_is_away(lab: Lab, tmp_path: Path) -> None:
    registry, registry_port, port = FakeRegistry(), free_port(), free_port()
    url = f"http://127.0.0.1:{registry_port}"
    kafka = lab.kafka.model_copy(update={"schema_registry_url": url})
    subject = f"{kafka.events_topic}-value"
    group = GROUP + lab.env["STREAM_GROUP_SUFFIX"]
    token = new_share_token()

    def view(**changes: Any) -> ShareEvent:
        return event(EventType.VIEWED, token, visitor_hash=uuid7().hex, page_view_id=uuid7(), **changes)

    with served(registry, int(registry_port)):
        codec = open_codec(kafka)
        known = registry.subjects[subject]
        lab.start(KAFKA_SCHEMA_REGISTRY_URL=url, STREAM_METRICS_PORT=port)
        # The reader is newer than the writer.
        made, seen = event(token=token), view()
        old = [written(SCHEMAS[version], known[version - 1], view()) for version in (1, 2)]
        lab.produce((token, value) for value in (codec.encode(made), codec.encode(seen), *old))
        await lab.applied(group)
    totals = await lab.totals()
    assert (totals["shares"], totals["raw"]) == (1, 3)

    # The reader is older than the writer, and whom it would ask is away.
    later = [with_a_field_more(), with_a_field_less(), with_a_type_more()]
    ids = [registry.add(json.dumps(schema), subject) for schema in later]
    new = [written(schema, ids[number], view()) for number, schema in enumerate(later)]
    new.append(written(later[2], ids[2], view(), event_type="share_forwarded"))
    new.append(codec.encode(view()))
    lab.produce((token, value) for value in new)

    async def waiting() -> bool:
        _, state, why = await asyncio.to_thread(health, port)
        return state == "waiting" and "registry" in why

    await eventually(waiting, 60, "the worker waits for the registry")
    assert (await lab.totals())["raw"] == 3, "nothing is put aside, and nothing overtakes it"
    with served(registry, int(registry_port)):
        await lab.applied(group)
    assert not lab.dead_letters(1, within=2)
    totals = await lab.totals()
    # Of a type that it does not know yet, this version has no use.
    assert (totals["shares"], totals["raw"], totals["views"]) == (1, 7, 7)
    assert totals["ledger"] == expected_totals([made, seen])["ledger"] + 6
