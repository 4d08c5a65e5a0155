"""Identifiers: what is derived names the same thing every time, and nothing else."""

from __future__ import annotations

import math
import time
from collections import Counter
from uuid import UUID, uuid4

from hypothesis import given
from hypothesis import strategies as st

from schemas.ids import (
    BASE62,
    first_wishlist_id_for,
    item_id_for,
    new_share_token,
    public_item_id,
    public_share_id,
    public_wishlist_id,
    share_id_for,
    share_token_of,
    uuid7,
    uuid7_at,
    view_event_id,
)

DAY_MS = 86_400_000
NOON = 1_757_000_000_000 - 1_757_000_000_000 % DAY_MS + DAY_MS // 2


def time_of(event_id: UUID) -> int:
    return event_id.int >> 80


def test_uuid7_is_of_version_7_and_of_now() -> None:
    before = time.time_ns() // 1_000_000
    made = [uuid7() for _ in range(100)]
    after = time.time_ns() // 1_000_000
    assert all(one.version == 7 and one.variant == UUID(int=0x8 << 60).variant for one in made)
    assert all(before <= time_of(one) <= after for one in made)
    assert sorted(made) == made, "the order of ids is the order of time"
    assert len(set(made)) == 100


@given(st.integers(0, (1 << 48) - 1), st.binary(max_size=64))
def test_uuid7_at_is_repeatable_and_valid(at: int, seed: bytes) -> None:
    one = uuid7_at(at, seed)
    assert one == uuid7_at(at, seed)
    assert (one.version, one.variant, time_of(one)) == (7, uuid4().variant, at)
    assert one != uuid7_at(at, seed + b"!")


def test_uuid7_at_never_leaves_its_48_bits_of_time() -> None:
    assert time_of(uuid7_at(-1, b"")) == 0
    assert uuid7_at(1 << 50, b"").version == 7


def test_tokens_are_22_base62_characters_of_128_bits() -> None:
    tokens = {new_share_token() for _ in range(5_000)}
    assert len(tokens) == 5_000
    assert all(len(token) == 22 and set(token) <= set(BASE62) for token in tokens)
    # 62^21 < 2^128 < 62^22: the last digit carries the rest of the bits, every other one is even.
    first = Counter(token[0] for token in tokens)
    assert len(first) == 62
    assert max(first.values()) < 3 * 5_000 / 62
    assert math.log2(62) * 22 > 128


@given(st.integers(0, (1 << 128) - 1))
def test_a_number_has_one_token(number: int) -> None:
    token = share_token_of(number)
    assert len(token) == 22
    assert sum(BASE62.index(digit) * 62**place for place, digit in enumerate(token)) == number


class TestViewEventId:
    token, other = new_share_token(), new_share_token()

    def test_look_up_and_beacon_of_one_page_are_one_event(self) -> None:
        page = uuid7_at(NOON, b"page")
        first = view_event_id(self.token, page, NOON + 50)
        assert first == view_event_id(self.token, page, NOON + 9_000)
        assert first.version == 7
        assert time_of(first) == NOON

    def test_another_page_or_another_share_is_another_event(self) -> None:
        page = uuid7_at(NOON, b"page")
        ids = {
            view_event_id(self.token, page, NOON),
            view_event_id(self.other, page, NOON),
            view_event_id(self.token, uuid7_at(NOON, b"another"), NOON),
        }
        assert len(ids) == 3

    def test_a_page_id_that_tells_no_time_is_one_event_a_day(self) -> None:
        page = uuid4()
        first = view_event_id(self.token, page, NOON)
        assert first == view_event_id(self.token, page, NOON + DAY_MS // 2 - 1)
        assert time_of(first) == NOON - NOON % DAY_MS
        assert first != view_event_id(self.token, page, NOON + DAY_MS // 2)

    @given(st.integers(0, (1 << 48) - 1))
    def test_no_page_can_put_its_event_far_from_now(self, said: int) -> None:
        event_id = view_event_id("A" * 22, uuid7_at(said, b"page"), NOON)
        assert abs(time_of(event_id) - NOON) < DAY_MS


def test_what_is_derived_is_the_same_thing_again() -> None:
    wishlist, share = uuid4(), share_id_for("7fB9xK2mN4pQ8rT1vW3y")
    item = item_id_for(wishlist, "prod_1a2b3c", share)
    assert item == item_id_for(wishlist, "prod_1a2b3c", share_id_for("7fB9xK2mN4pQ8rT1vW3y"))
    others = {
        item_id_for(uuid4(), "prod_1a2b3c", share),
        item_id_for(wishlist, "prod_4d5e6f", share),
        item_id_for(wishlist, "prod_1a2b3c", share_id_for("aH5jL8nP0sU3wX6zA9cE")),
        first_wishlist_id_for(wishlist),
        share,
    }
    assert len(others) == 5
    assert item not in others


def test_ids_at_the_edge() -> None:
    one = UUID("0123456789ab4cdef0123456789abcde".replace("-", ""))
    assert public_share_id(one) == "share_0123456789ab"
    assert public_wishlist_id(one) == "wl_0123456789ab4cdef0123456789abcde"
    assert public_item_id(one) == "wli_0123456789ab4cdef0123456789abcde"
