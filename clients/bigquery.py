"""BigQuery: the REST side for tables and queries, the Storage Write API for rows."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import grpc
from google.api_core.client_options import ClientOptions
from google.api_core.exceptions import InvalidArgument, NotFound
from google.auth.credentials import AnonymousCredentials
from google.cloud import bigquery
from google.cloud.bigquery.retry import DEFAULT_RETRY
from google.cloud.bigquery_storage_v1 import BigQueryWriteClient, types
from google.cloud.bigquery_storage_v1.services.big_query_write.transports import BigQueryWriteGrpcTransport
from google.rpc import code_pb2

from clients.bigquery_rows import RowFormat
from clients.faults import Unavailable
from config.settings import WarehouseSettings

# BigQuery takes 10 MB in one append (quotas, "Storage Write API"); the rest of the request is kept free.
LARGEST_APPEND_BYTES = 9_500_000
_ROW_OVERHEAD_BYTES = 5

SCHEMAS = Path(__file__).parent.parent / "schemas" / "bigquery"


class RowsRefused(ValueError):
    """BigQuery will never take these rows; none of them was written."""


@contextmanager
def _outages() -> Iterator[None]:
    """Whatever Google's clients raise leaves as ``Unavailable``: they let errors of five libraries through."""
    try:
        yield
    except Exception as error:
        raise Unavailable("BigQuery", f"{type(error).__name__}: {error}") from error


@dataclass
class WriteStream:
    """A committed stream: rows are there once their append is acknowledged, each at its offset, once."""

    name: str
    next_offset: int = 0


class Warehouse:
    """Blocking; callers in an event loop use threads. Raises ``Unavailable`` unless said otherwise."""

    def __init__(self, settings: WarehouseSettings) -> None:
        self.settings = settings
        self.dataset = f"{settings.project}.{settings.dataset}"

    def schema(self, table: str) -> list[bigquery.SchemaField]:
        """The columns that *table* must have (``schemas/bigquery/TABLE.json``)."""
        fields = json.loads((SCHEMAS / f"{table}.json").read_text(encoding="utf-8"))
        return [bigquery.SchemaField.from_api_repr(field) for field in fields]

    @cached_property
    def rest(self) -> bigquery.Client:
        """Google's own client."""
        if self.settings.endpoint is None:
            return bigquery.Client(project=self.settings.project, location=self.settings.location)
        return bigquery.Client(
            project=self.settings.project,
            location=self.settings.location,
            credentials=AnonymousCredentials(),  # type: ignore[no-untyped-call]
            client_options=ClientOptions(api_endpoint=self.settings.endpoint),
        )

    @cached_property
    def _writer(self) -> BigQueryWriteClient:
        if self.settings.storage_endpoint is None:
            return BigQueryWriteClient()  # type: ignore[no-untyped-call]
        channel = grpc.insecure_channel(self.settings.storage_endpoint)
        return BigQueryWriteClient(  # type: ignore[no-untyped-call]
            transport=BigQueryWriteGrpcTransport(channel=channel)
        )

    @property
    def _one_try(self) -> dict[str, Any]:
        # Google's own tries go on for 20 minutes and more, two apart in the end, and tell nobody what they wait for.
        return {"timeout": self.settings.timeout_seconds, "retry": None}

    def query(self, sql: str, parameters: Sequence[Any] = (), within: float | None = None) -> list[dict[str, Any]]:
        """The rows of *sql*, waited for *within* seconds in all, by default as for any answer."""
        config = bigquery.QueryJobConfig(query_parameters=list(parameters))
        within = within or self.settings.timeout_seconds
        ends = time.monotonic() + within
        # Google's own tries last ten minutes; the same ones, within our limit.
        retry = DEFAULT_RETRY.with_timeout(within)
        with _outages():
            job = self.rest.query(sql, job_config=config, timeout=within, retry=retry, job_retry=None)
            left = max(1.0, ends - time.monotonic())
            rows = job.result(timeout=left, retry=retry.with_timeout(left), job_retry=None)
            return [dict(row) for row in rows]

    def open_stream(self, table: str) -> WriteStream:
        """A new committed stream into *table*."""
        parent = f"projects/{self.settings.project}/datasets/{self.settings.dataset}/tables/{table}"
        wanted = types.WriteStream(type_=types.WriteStream.Type.COMMITTED)
        with _outages():
            made = self._writer.create_write_stream(parent=parent, write_stream=wanted, **self._one_try)
        return WriteStream(made.name)

    def append(self, stream: WriteStream, rows: Sequence[bytes], form: RowFormat) -> None:
        """Append *rows* where the stream stands, or find that they stand there already.

        Raises :class:`RowsRefused` where the rows themselves are at fault, and where they are too many bytes for one
        append: fewer of them may be taken. After any other error their fate is open until :meth:`finish` tells it.
        """
        size = sum(len(row) + _ROW_OVERHEAD_BYTES for row in rows)
        if size > LARGEST_APPEND_BYTES:
            raise RowsRefused(f"{len(rows):,} rows of {size:,} bytes; an append takes {LARGEST_APPEND_BYTES:,}")
        request = types.AppendRowsRequest(
            write_stream=stream.name,
            offset=stream.next_offset,
            proto_rows=types.AppendRowsRequest.ProtoData(
                writer_schema=types.ProtoSchema(proto_descriptor=form.descriptor),
                rows=types.ProtoRows(serialized_rows=list(rows)),
            ),
        )
        try:
            with _outages():
                answers = list(self._writer.append_rows(iter([request]), **self._one_try))
        except Unavailable as error:
            if isinstance(error.__cause__, InvalidArgument):
                raise RowsRefused(str(error.__cause__)) from error
            raise
        if not answers:
            raise Unavailable("BigQuery", "the append was not answered")
        answer = answers[0]
        if answer.row_errors:
            first = answer.row_errors[0]
            raise RowsRefused(f"row {first.index}: {first.message}")
        if answer.error.code == code_pb2.INVALID_ARGUMENT:
            raise RowsRefused(answer.error.message)
        if answer.error.code not in (code_pb2.OK, code_pb2.ALREADY_EXISTS):
            raise Unavailable("BigQuery", f"{code_pb2.Code.Name(answer.error.code)}: {answer.error.message}")
        stream.next_offset += len(rows)

    def finish(self, stream: str) -> int | None:
        """Let nobody append to *stream* any more; how many rows it took, or None where it is not known any more."""
        try:
            with _outages():
                done = self._writer.finalize_write_stream(name=stream, **self._one_try)
        except Unavailable as error:
            if isinstance(error.__cause__, NotFound):
                return None
            raise
        return int(done.row_count)
