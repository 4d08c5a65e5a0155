"""Rows as the Storage Write API takes them: protocol buffers of a type made from the table's columns."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, date, datetime, timedelta
from typing import Any

from google.cloud.bigquery import SchemaField
from google.protobuf.descriptor_pb2 import DescriptorProto, FieldDescriptorProto, FileDescriptorProto
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message_factory import GetMessageClass

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_EPOCH_DAY = _EPOCH.date()


def _same(value: Any) -> Any:
    return value


def _micros(value: datetime) -> int:
    return (value - _EPOCH) // timedelta(microseconds=1)


def _days(value: date) -> int:
    return (value - _EPOCH_DAY).days


# Google's "Supported protocol buffer and Arrow data types" for the Storage Write API.
_KINDS: dict[str, tuple[FieldDescriptorProto.Type.ValueType, Callable[[Any], Any]]] = {
    "STRING": (FieldDescriptorProto.TYPE_STRING, _same),
    # As text, which keeps every digit.
    "NUMERIC": (FieldDescriptorProto.TYPE_STRING, str),
    "INT64": (FieldDescriptorProto.TYPE_INT64, _same),
    "BOOL": (FieldDescriptorProto.TYPE_BOOL, _same),
    "TIMESTAMP": (FieldDescriptorProto.TYPE_INT64, _micros),
    "DATE": (FieldDescriptorProto.TYPE_INT32, _days),
}
_ALIASES = {"INTEGER": "INT64", "BOOLEAN": "BOOL"}


class RowFormat:
    """Encodes rows of one table; flat columns of the kinds above."""

    def __init__(self, schema: Sequence[SchemaField]) -> None:
        self.descriptor = DescriptorProto(name="Row")
        self._encoders: dict[str, Callable[[Any], Any]] = {}
        for number, column in enumerate(schema, start=1):
            kind, encode = _KINDS[_ALIASES.get(column.field_type, column.field_type)]
            repeated = column.mode == "REPEATED"
            label = FieldDescriptorProto.LABEL_REPEATED if repeated else FieldDescriptorProto.LABEL_OPTIONAL
            self.descriptor.field.add(name=column.name, number=number, type=kind, label=label)
            self._encoders[column.name] = encode
        file = FileDescriptorProto(name="row.proto", syntax="proto2")
        file.message_type.add().CopyFrom(self.descriptor)
        pool = DescriptorPool()
        pool.Add(file)
        self._message: Any = GetMessageClass(pool.FindMessageTypeByName("Row"))

    def encode(self, row: Mapping[str, Any]) -> bytes:
        """The bytes of *row*; a column that is None is NULL. Raises ``KeyError`` for a column that there is not."""
        values = {name: self._encoders[name](value) for name, value in row.items() if value is not None}
        encoded: bytes = self._message(**values).SerializeToString()
        return encoded
