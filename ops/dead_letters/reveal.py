"""What a dead letter holds, decoded as far as it can be, masked or not."""

from __future__ import annotations

import base64
import json
from dataclasses import dataclass
from typing import Any

import msgspec

from clients.faults import Unavailable
from ops.dead_letters.letters import Letter
from ops.dead_letters.masking import HARMLESS, MASK, mask_fields, mask_text, mask_traceback, secrets_in
from ops.dead_letters.reading import Content
from schemas import segment
from schemas.codec import Codec, MalformedEvent, Origin

_DUMPED_BYTES = 512


@dataclass(frozen=True, slots=True)
class Revealed:
    """*fields* is the event, or whatever JSON there is, None where the bytes are neither; *why_not* says what is wrong.

    ``value`` is the raw value: in base64 where it may be seen, else None.
    """

    key: str | None
    fields: Any
    why_not: str | None
    message: str
    traceback: str
    bytes_said: str
    value: str | None


def reveal(letter: Letter, content: Content, codec: Codec, segment_topic: str, *, unmask: bool) -> Revealed:
    """*letter* with what it holds."""
    fields, why_not = _decoded(letter, content.value, codec, segment_topic)
    key = None if content.key is None else content.key.decode("utf-8", "backslashreplace")
    said = _describe(letter, content.value)
    if unmask:
        value = None if content.value is None else base64.b64encode(content.value).decode()
        return Revealed(key, fields, why_not, letter.error_message, content.traceback, said, value)
    secrets = secrets_in(fields) | ({key} if key and len(key) >= 4 else set())
    return Revealed(
        None if key is None else MASK,
        # What is no event may have anything under any name.
        mask_fields(fields, HARMLESS if why_not is None else ()),
        why_not and mask_text(why_not, secrets),
        mask_text(letter.error_message, secrets),
        mask_traceback(content.traceback, secrets),
        said,
        None,
    )


def dump(value: bytes) -> str:
    """The first bytes of *value* in hexadecimal and in ASCII, sixteen a line."""
    lines = []
    for start in range(0, min(len(value), _DUMPED_BYTES), 16):
        row = value[start : start + 16]
        text = "".join(chr(byte) if 32 <= byte < 127 else "·" for byte in row)
        lines.append(f"{start:04x}  {row.hex(' ', 4):<35}  {text}")
    if len(value) > _DUMPED_BYTES:
        lines.append(f"… and {len(value) - _DUMPED_BYTES:,} bytes more; --json has them all")
    return "\n".join(lines)


def _decoded(letter: Letter, value: bytes | None, codec: Codec, segment_topic: str) -> tuple[Any, str | None]:
    if letter.topic == segment_topic:
        try:
            return msgspec.to_builtins(segment.decode(value or b"")), None
        except (msgspec.MsgspecError, UnicodeDecodeError) as error:
            return _json(value), f"not a Segment message: {error}"
    origin = Origin(letter.topic, letter.partition, letter.offset, letter.timestamp_ms)
    try:
        return msgspec.to_builtins(codec.decode(value, origin)), None
    except (MalformedEvent, Unavailable) as error:
        return None, str(error)


def _json(value: bytes | None) -> Any:
    try:
        found = json.loads(value or b"")
    except ValueError:
        return None
    return found if isinstance(found, dict | list) else None


def _describe(letter: Letter, value: bytes | None) -> str:
    if value is None:
        return "no value"
    size = f"{len(value):,} bytes"
    if letter.value_bytes is not None:
        size = f"the first {len(value):,} of {letter.value_bytes:,} bytes"
    if len(value) >= 5 and value[:1] == b"\0":
        return f"{size}, schema id {int.from_bytes(value[1:5], 'big')}"
    return size
