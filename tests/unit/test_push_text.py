"""Texts of pushes: they fit whatever they are made of, and are cut no more than they must be."""

from __future__ import annotations

import unicodedata

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from clients.push_text import ELLIPSIS, LARGEST_PAYLOAD, cut, fitted

ANY_TEXT = st.text(st.characters(codec=None, categories=None), max_size=40)
FAMILY = "👨‍👩‍👧‍👦"


def build(title: str, body: str) -> dict[str, object]:
    return {"aps": {"alert": {"title": title, "body": body}}, "url": "https://vantage.com/w/abc"}


@given(ANY_TEXT, ANY_TEXT, st.integers(1, 2_000), st.integers(1, 2_000))
def test_every_text_fits_and_is_the_beginning_of_what_it_was(title: str, body: str, titles: int, bodies: int) -> None:
    texts = fitted(build, title * titles, body * bodies)
    assert texts is not None
    assert len(orjson.dumps(build(*texts))) <= LARGEST_PAYLOAD
    for text, whole in zip(texts, (title * titles, body * bodies), strict=True):
        readable = whole.encode("utf-8", "replace").decode()
        assert text == readable or readable.startswith(text.removesuffix(ELLIPSIS))


@pytest.mark.parametrize("character", ["a", "ß", "愿", "🎁", '"', "\\", "\x01"])
def test_the_room_is_used(character: str) -> None:
    texts = fitted(build, "A title", character * 10_000)
    assert texts is not None
    assert texts[0] == "A title"
    # The longest of these takes six bytes, as \u0001.
    assert LARGEST_PAYLOAD - len(orjson.dumps(build(*texts))) < 6


def test_what_fits_to_the_byte_is_left_alone() -> None:
    room = LARGEST_PAYLOAD - len(orjson.dumps(build("", "")))
    assert fitted(build, "", "x" * room) == ("", "x" * room)
    assert fitted(build, "", "x" * (room + 1)) == ("", "x" * (room - len(ELLIPSIS.encode())) + ELLIPSIS)


def test_a_long_title_leaves_half_of_the_room() -> None:
    texts = fitted(build, "t" * 9_000, "b" * 9_000)
    assert texts is not None
    assert abs(len(texts[0]) - len(texts[1])) < 10
    texts = fitted(build, "t" * 9_000, "short")
    assert texts is not None
    assert texts[1] == "short"
    assert len(texts[0]) > 3_900


def test_nothing_helps_where_the_rest_is_too_large() -> None:
    assert fitted(lambda title, body: {"url": "u" * 5_000, "title": title, "body": body}, "t", "b") is None


@pytest.mark.parametrize("whole", [FAMILY, "👍🏽", "e\u0301\u0323", "❤️"])
def test_a_character_of_several_parts_is_never_halved(whole: str) -> None:
    for room in range(3, 120):
        kept = cut(whole * 10, room).removesuffix(ELLIPSIS)
        assert kept == whole * (len(kept) // len(whole))


def test_where_not_even_the_ellipsis_fits_nothing_stays() -> None:
    assert cut("hello", 2) == ""
    assert cut("hello", 3) == ELLIPSIS


def test_no_blank_before_the_ellipsis() -> None:
    assert not unicodedata.category(cut("word " * 100, 28).removesuffix(ELLIPSIS)[-1]).startswith("Z")
