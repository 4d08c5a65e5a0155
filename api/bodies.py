"""Request bodies: read with a limit, parsed strictly, and refused with the field and the remedy."""

from __future__ import annotations

from typing import Any, TypeVar

import orjson
from fastapi import Request
from pydantic import BaseModel, ConfigDict, ValidationError

from api.errors import ApiError, invalid, invalid_fields

MAX_BYTES = 10 * 1024 * 1024
# Far deeper than any body of ours, and shallow enough that no later walk over the value can overflow the stack.
MAX_DEPTH = 32


class Body(BaseModel):
    """A request body: exact types, and no fields but those that are named."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)


B = TypeVar("B", bound=Body)


def too_large() -> ApiError:
    """413."""
    return ApiError(413, "PAYLOAD_TOO_LARGE", f"The body is larger than {MAX_BYTES // 1024 // 1024} MB.")


async def read_body(request: Request, model: type[B], *, any_type: bool = False) -> B:
    """The request's JSON body as *model*; raises :class:`ApiError` 413, 415 or 422. *any_type*: beacons say text."""
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind and not any_type and kind != "application/json" and not kind.endswith("+json"):
        raise ApiError(415, "UNSUPPORTED_MEDIA_TYPE", "Send the body as application/json.")
    return parse(await _read(request), model)


def parse(raw: bytes, model: type[B]) -> B:
    """*raw* as *model*; raises :class:`ApiError` 422."""
    if not raw.strip():
        raise invalid("body", "is empty", "Send a JSON object")
    try:
        value: Any = orjson.loads(raw)
    except orjson.JSONDecodeError as error:
        raise invalid("body", f"is not JSON ({error.msg})", "Send a JSON object in UTF-8") from None
    if not isinstance(value, dict):
        raise invalid("body", "is not a JSON object", "Send an object with named fields")
    _check(value)
    try:
        return model.model_validate(value)
    except ValidationError as error:
        raise invalid_fields([_describe(item, model) for item in error.errors(include_url=False)]) from None


async def _read(request: Request) -> bytes:
    length = request.headers.get("content-length", "")
    if length.isdecimal() and int(length) > MAX_BYTES:
        raise too_large()
    parts = bytearray()
    async for part in request.stream():
        parts += part
        if len(parts) > MAX_BYTES:
            raise too_large()
    return bytes(parts)


def _check(value: dict[str, Any]) -> None:
    """Refuse nesting that nothing of ours needs, and NUL, which PostgreSQL cannot keep."""
    waiting: list[tuple[str, Any, int]] = [("body", value, 0)]
    while waiting:
        name, item, depth = waiting.pop()
        if depth > MAX_DEPTH:
            raise invalid("body", f"is nested deeper than {MAX_DEPTH} levels", "Send the documented fields only")
        if isinstance(item, str):
            if "\0" in item:
                raise invalid(name, "contains a NUL character", "Remove it")
        elif isinstance(item, dict):
            if any("\0" in key for key in item):
                raise invalid(name, "has a field name with a NUL character", "Remove it")
            waiting += [(key if depth == 0 else name, inner, depth + 1) for key, inner in item.items()]
        elif isinstance(item, list):
            waiting += [(name, inner, depth + 1) for inner in item]


def _describe(item: Any, model: type[Body]) -> dict[str, str]:
    field = ".".join(str(part) for part in item["loc"])[:200] or "body"
    message = str(item["msg"])[:500]
    match item["type"]:
        case "missing":
            return {"field": field, "problem": "is missing", "remedy": "Add it"}
        case "extra_forbidden":
            known = ", ".join(model.model_fields)
            return {
                "field": field,
                "problem": "is not a known field",
                "remedy": f"Remove it; known fields are {known}",
            }
        case "value_error":
            return {
                "field": field,
                "problem": "is not valid",
                "remedy": message.removeprefix("Value error, "),
            }
        case _:
            return {"field": field, "problem": "is not valid", "remedy": message}
