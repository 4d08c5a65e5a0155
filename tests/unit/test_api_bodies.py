"""Bodies: whatever bytes come, the answer is a body or a 422 that names a field and a remedy."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from api.bodies import MAX_DEPTH, parse
from api.create import ShareRequest
from api.errors import ApiError

_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=20,
)


def _refused(raw: bytes) -> ApiError:
    with pytest.raises(ApiError) as caught:
        parse(raw, ShareRequest)
    assert caught.value.status == 422
    for detail in caught.value.extra["details"]:
        assert detail["field"] and detail["problem"] and detail["remedy"]
    return caught.value


@given(st.binary())
def test_any_bytes_are_refused_politely(raw: bytes) -> None:
    _refused(raw)


@given(st.dictionaries(st.sampled_from(["channel", "expires_in_days", "hidden_items", "message", "x"]), _VALUES))
def test_any_object_is_a_body_or_is_refused(value: dict[str, object]) -> None:
    raw = json.dumps(value).encode("utf-8", "surrogatepass")
    try:
        body = parse(raw, ShareRequest)
    except ApiError as error:
        assert error.status == 422
    else:
        assert body.channel == value["channel"]
        assert "\0" not in (body.message or "")


def test_defaults_are_the_specs() -> None:
    body = parse(b'{"channel": "email"}', ShareRequest)
    assert (body.expires_in_days, body.hidden_items, body.message) == (30, None, None)
    assert parse(b'{"channel": "email", "expires_in_days": null}', ShareRequest).expires_in_days is None


def test_unknown_fields_are_named_with_the_known_ones() -> None:
    error = _refused(b'{"channel": "email", "expiry": 7}')
    assert error.extra["details"][0]["field"] == "expiry"
    assert "expires_in_days" in error.extra["details"][0]["remedy"]


def test_deep_nesting_is_refused() -> None:
    depth = MAX_DEPTH + 2
    assert "nested" in _refused(b'{"message":' + b"[" * depth + b"]" * depth + b"}").message


@pytest.mark.parametrize("raw", [rb'{"message": "a\u0000"}', rb'{"a\u0000": 1}', rb'{"hidden_items": ["\u0000"]}'])
def test_nul_is_refused(raw: bytes) -> None:
    assert "NUL" in _refused(raw).message
