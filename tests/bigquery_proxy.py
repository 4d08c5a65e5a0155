"""A proxy in front of the Storage Write API that has it misbehave: the bytes that pass through are the real ones."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import grpc
from google.cloud.bigquery_storage_v1 import types

_OPEN = "/google.cloud.bigquery.storage.v1.BigQueryWrite/CreateWriteStream"
_APPEND = "/google.cloud.bigquery.storage.v1.BigQueryWrite/AppendRows"


@dataclass
class Faults:
    """What goes wrong with appends, or with the streams for them, and how many have been met."""

    refuse_with: grpc.StatusCode | None = None
    refuse_streams_with: grpc.StatusCode | None = None
    delay_seconds: float = 0.0
    # Write the rows, and say nothing of it.
    swallow_answers: bool = False
    # Rows with these bytes in them are refused, and with them their append.
    bad_row: bytes | None = None
    met: int = 0
    appends: int = 0
    refused: list[int] = field(default_factory=list)


@contextmanager
def open_proxy(target: str) -> Iterator[tuple[str, Faults]]:
    """HOST:PORT of a proxy to *target*, and the faults that it is to make."""
    faults = Faults()
    channel = grpc.insecure_channel(target)
    server = grpc.server(ThreadPoolExecutor(32))
    server.add_generic_rpc_handlers((_Forwarder(channel, faults),))
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    try:
        yield f"127.0.0.1:{port}", faults
    finally:
        server.stop(0).wait()
        channel.close()


def _same(value: bytes) -> bytes:
    return value


class _Forwarder(grpc.GenericRpcHandler):
    def __init__(self, channel: grpc.Channel, faults: Faults) -> None:
        self._channel = channel
        self._faults = faults

    def service(self, details: Any) -> grpc.RpcMethodHandler:
        """Forward every call as it is, appends as the faults have it."""
        metadata = [item for item in details.invocation_metadata if not item[0].startswith(("grpc-", "user-agent"))]
        if details.method != _APPEND:
            call = self._channel.unary_unary(details.method, _same, _same)
            return grpc.unary_unary_rpc_method_handler(
                lambda request, context: self._unary(details.method, call, request, context, metadata), _same, _same
            )
        append = self._channel.stream_stream(_APPEND, _same, _same)
        return grpc.stream_stream_rpc_method_handler(
            lambda requests, context: self._append(append, requests, context, metadata), _same, _same
        )

    def _unary(self, method: str, call: Callable[..., bytes], request: bytes, context: Any, metadata: Any) -> bytes:
        if method == _OPEN and self._faults.refuse_streams_with is not None:
            self._faults.met += 1
            context.abort(self._faults.refuse_streams_with, "as the test will have it")
        return call(request, metadata=metadata, timeout=30)

    def _append(
        self, append: Callable[..., Iterator[bytes]], requests: Iterator[bytes], context: Any, metadata: Any
    ) -> Iterator[bytes]:
        faults = self._faults
        for request in requests:
            faults.appends += 1
            if faults.refuse_with is not None:
                faults.met += 1
                context.abort(faults.refuse_with, "as the test will have it")
            if faults.delay_seconds:
                faults.met += 1
                time.sleep(faults.delay_seconds)
            rows = types.AppendRowsRequest.deserialize(request).proto_rows.rows.serialized_rows
            bad = [n for n, row in enumerate(rows) if faults.bad_row is not None and faults.bad_row in row]
            if bad:
                faults.met += 1
                faults.refused.append(len(rows))
                yield types.AppendRowsResponse.serialize(_refusal(bad))
                continue
            answers = list(append(iter([request]), metadata=metadata, timeout=30))
            if faults.swallow_answers:
                faults.met += 1
                context.abort(grpc.StatusCode.DEADLINE_EXCEEDED, "the answer is lost")
            yield from answers


def _refusal(bad: list[int]) -> types.AppendRowsResponse:
    errors = [types.RowError(index=n, code=types.RowError.RowErrorCode.FIELDS_ERROR, message="bad row") for n in bad]
    return types.AppendRowsResponse(error={"code": 3, "message": "errors in rows"}, row_errors=errors)
