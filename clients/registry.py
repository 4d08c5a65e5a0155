"""Schema ids from a Confluent-compatible registry (Karapace, Confluent Schema Registry, Redpanda, Apicurio).

Without ``KAFKA_SCHEMA_REGISTRY_URL`` ids come from ``schemas/avro/ids.json`` and nothing here connects anywhere.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from clients.faults import Unavailable
from clients.logs import get_logger
from config.settings import KafkaSettings
from schemas.codec import WRITER_ID, Codec, SchemaMismatch, fingerprint, load_schemas

if TYPE_CHECKING:
    import httpx

_CONTENT_TYPE = "application/vnd.schemaregistry.v1+json"
# One look-up holds up the events behind it; a registry that is slower than this counts as away.
_TIMEOUT_SECONDS = 1.0
_REMEMBER_UNKNOWN_SECONDS = 10.0
_MOST_UNKNOWN = 1_000


class SchemaRefused(RuntimeError):
    """The registry will not take a schema of ours; the message has its words."""


class SchemaRegistry:
    """One registry. Calls block: they happen at start, and once for each schema id that came after it."""

    def __init__(self, url: str, transport: httpx.BaseTransport | None = None) -> None:
        """*transport* is for tests."""
        # Loaded here: commands without a registry need not wait for it.
        import httpx

        self._faults = httpx.HTTPError
        self._http = httpx.Client(
            base_url=url.rstrip("/"),
            timeout=_TIMEOUT_SECONDS,
            headers={"Accept": _CONTENT_TYPE, "Content-Type": _CONTENT_TYPE},
            transport=transport,
        )
        self._unknown: dict[int, float] = {}

    def id_of(self, subject: str, schema: dict[str, Any]) -> int:
        """The id of *schema* under *subject*, registered now if it was not.

        Raises ``Unavailable``, :class:`SchemaRefused`, or :class:`SchemaMismatch` where the registry
        holds another schema under the id that it gives.
        """
        body = {"schema": json.dumps(schema)}
        answer = self._call("POST", f"/subjects/{subject}", body)
        if answer.status_code == 404:
            answer = self._call("POST", f"/subjects/{subject}/versions", body)
        if not answer.is_success:
            raise SchemaRefused(
                f"the registry refuses a schema for {subject}: {answer.status_code} {answer.text[:300]}"
            )
        schema_id = int(answer.json()["id"])
        held = self.schema(schema_id)
        if held is None or fingerprint(held) != fingerprint(schema):
            raise SchemaMismatch(f"id {schema_id} of {subject} stands for another schema in the registry than here")
        return schema_id

    def schema(self, schema_id: int) -> dict[str, Any] | None:
        """The schema of an id, or None where the registry has none (remembered for 10 s).

        Raises :class:`clients.faults.Unavailable`.
        """
        if time.monotonic() < self._unknown.get(schema_id, 0):
            return None
        answer = self._call("GET", f"/schemas/ids/{schema_id}")
        if answer.status_code == 404:
            if len(self._unknown) >= _MOST_UNKNOWN:
                self._unknown.clear()
            self._unknown[schema_id] = time.monotonic() + _REMEMBER_UNKNOWN_SECONDS
            return None
        try:
            body = answer.raise_for_status().json()
            # Anything but a record cannot be a share event; the codec says so.
            schema: Any = json.loads(body["schema"]) if body.get("schemaType", "AVRO") == "AVRO" else None
        except (self._faults, ValueError, LookupError, TypeError, AttributeError) as error:
            raise Unavailable("the schema registry", f"an answer that makes no sense: {error}") from error
        return schema if isinstance(schema, dict) else None

    def _call(self, method: str, path: str, body: dict[str, Any] | None = None) -> httpx.Response:
        try:
            answer = self._http.request(method, path, json=body)
        except self._faults as error:
            raise Unavailable("the schema registry", f"{type(error).__name__}: {error}") from error
        if answer.status_code >= 500 or answer.status_code in {408, 429}:
            raise Unavailable("the schema registry", f"{answer.status_code} {answer.text[:300]}")
        return answer


def open_codec(
    kafka: KafkaSettings, *, wait_seconds: float = 60.0, sleep: Callable[[float], None] = time.sleep
) -> Codec:
    """The codec of the events topic, by the registry where one is set.

    Then every schema of ``schemas/avro/`` is looked up or registered under ``<topic>-value``, oldest first, and
    checked by its fingerprint; blocks until the registry answers, *wait_seconds* at most. Raises
    :class:`SchemaMismatch`, :class:`SchemaRefused` or :class:`clients.faults.Unavailable`: the process must not start.
    """
    schemas = load_schemas()
    if kafka.schema_registry_url is None:
        return Codec(schemas)
    registry = SchemaRegistry(kafka.schema_registry_url)
    give_up = time.monotonic() + wait_seconds
    while True:
        try:
            ids = {key: registry.id_of(f"{kafka.events_topic}-value", schemas[key]) for key in sorted(schemas)}
            break
        except Unavailable as error:
            if time.monotonic() >= give_up:
                raise
            get_logger().warning("waiting for the schema registry", error=str(error))
            sleep(1.0)
    return Codec({ids[key]: schema for key, schema in schemas.items()}, ids[WRITER_ID], registry.schema)
