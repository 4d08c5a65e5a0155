"""Makes texts fit into what FCM and APNs carry: 4,096 bytes, whatever the script."""

from __future__ import annotations

import unicodedata
from collections.abc import Callable

import orjson

LARGEST_PAYLOAD = 4_096
ELLIPSIS = "…"
_JOINER = "\u200d"


def fitted(build: Callable[[str, str], object], title: str, body: str) -> tuple[str, str] | None:
    """*title* and *body*, cut so that ``build(title, body)`` is at most 4,096 bytes of JSON.

    None where it is larger without them. The body gives way first; a long title may keep half of the room.
    """
    title, body = encodable(title), encodable(body)
    room = LARGEST_PAYLOAD - len(orjson.dumps(build("", "")))
    if room < 0:
        return None
    title = cut(title, max(room // 2, room - _size(body)))
    return title, cut(body, room - _size(title))


def cut(text: str, room: int) -> str:
    """*text*, or as much of its beginning as takes *room* bytes in JSON, with an ellipsis. Never half a character."""
    if _size(text) <= room:
        return text
    kept, too_many = 0, len(text)
    while too_many - kept > 1:
        middle = (kept + too_many) // 2
        if _size(text[:middle] + ELLIPSIS) <= room:
            kept = middle
        else:
            too_many = middle
    while kept and (_belongs_to_the_one_before(text[kept]) or text[kept - 1] == _JOINER):
        kept -= 1
    shortened = text[:kept].rstrip() + ELLIPSIS
    return shortened if _size(shortened) <= room else ""


def encodable(text: str) -> str:
    """*text* with a question mark for each half of a surrogate pair, which UTF-8 cannot hold."""
    return text.encode("utf-8", "replace").decode()


def _size(text: str) -> int:
    """Bytes of *text* in JSON, without its quotation marks."""
    return len(orjson.dumps(text)) - 2


def _belongs_to_the_one_before(character: str) -> bool:
    # Accents, variation selectors, the joiner of families and professions, and skin tones.
    return (
        unicodedata.category(character).startswith("M")
        or character == _JOINER
        or "\U0001f3fb" <= character <= "\U0001f3ff"
    )
