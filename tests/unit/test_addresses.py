"""Whose address limits count: the client's own, however the proxies in front write it."""

from __future__ import annotations

from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from api.addresses import UNKNOWN, AddressBook
from tests.forwarded_case import BOOK, forwarded_case, request_with

V4, V6 = "203.0.113.7", "2001:db8:1:2::/64"


@pytest.mark.parametrize(
    ("header", "counted"),
    [
        ("203.0.113.7", V4),
        ("203.0.113.7:51234", V4),
        (" 203.0.113.7\t", V4),
        ('"203.0.113.7"', V4),
        ('"203.0.113.7:80"', V4),
        ("::ffff:203.0.113.7", V4),
        ("::FFFF:cb00:7107", V4),
        ("[::ffff:203.0.113.7]:443", V4),
        ("2001:db8:1:2::9", V6),
        ("[2001:db8:1:2::9]", V6),
        ("[2001:db8:1:2::9]:443", V6),
        ('"[2001:db8:1:2::9]:443"', V6),
        ("2001:0DB8:0001:0002:0000:0000:0000:0009", V6),
        ("[2001:db8:1:2::9%eth0]:1", V6),
        ("6.6.6.6, 203.0.113.7", V4),
        ("unknown, 203.0.113.7", V4),
        ("203.0.113.7, unknown", V4),
        ("203.0.113.7, 10.1.2.3", V4),
        ("203.0.113.7, 10.1.2.3:8080, [::ffff:10.0.0.1]", V4),
        ("203.0.113.7,", V4),
        (",,203.0.113.7,, ,", V4),
        ("203.0.113.7, garbage", V4),
        ("6.6.6.6, 203.0.113.7, fd00::1", V4),
        ("10.1.2.3", "10.1.2.3"),
        ("10.9.9.9, 10.1.2.3", "10.9.9.9"),
        ("unknown", UNKNOWN),
        ("", UNKNOWN),
        ("203.0.113.300", UNKNOWN),
        ("203.0.113.7:80:90", UNKNOWN),
        ("203.0.113", UNKNOWN),
        ("x" * 10_000, UNKNOWN),
    ],
)
def test_x_forwarded_for(header: str, counted: str) -> None:
    assert BOOK.address_of(request_with(("x-forwarded-for", header))) == counted


# The first seven are RFC 7239's own forms (sections 4, 6 and 7).
@pytest.mark.parametrize(
    ("header", "counted"),
    [
        ("for=203.0.113.7", V4),
        ('For="[2001:db8:1:2::9]:4711"', V6),
        ("for=203.0.113.7;proto=http;by=203.0.113.43", V4),
        ("for=192.0.2.43, for=203.0.113.7", V4),
        ('for="_gazonk"', "_gazonk"),
        ("for=_hidden, for=_SEVKISEK", "_SEVKISEK"),
        ("for=unknown", UNKNOWN),
        ('proto=https;for="203.0.113.7:1234"', V4),
        ("for=203.0.113.7 , for=10.1.2.3", V4),
        ("by=10.0.0.1;for=203.0.113.7, proto=http", V4),
        ('for=203.0.113.7;host="a,for=6.6.6.6"', V4),
        ('for=203.0.113.7;host="a\\",for=6.6.6.6"', V4),
        ('for=203.0.113.7;ext="x;for=6.6.6.6"', V4),
        ("xfor=6.6.6.6;for=203.0.113.7", V4),
        ('for="6.6.6.6, for=203.0.113.7', UNKNOWN),
        ("proto=https", UNKNOWN),
    ],
)
def test_forwarded(header: str, counted: str) -> None:
    assert BOOK.address_of(request_with(("forwarded", header))) == counted


def test_several_headers_are_one_list() -> None:
    assert BOOK.address_of(request_with(("x-forwarded-for", "6.6.6.6"), ("x-forwarded-for", "203.0.113.7"))) == V4
    assert BOOK.address_of(request_with(("x-forwarded-for", "203.0.113.7"), ("x-forwarded-for", "10.1.1.1"))) == V4
    assert BOOK.address_of(request_with(("forwarded", 'for="6.6.6.6'), ("forwarded", "for=203.0.113.7"))) == V4
    assert BOOK.address_of(request_with(("forwarded", "for=6.6.6.6"), ("x-forwarded-for", "203.0.113.7"))) == V4


def test_strangers_are_not_believed() -> None:
    for header in ("x-forwarded-for", "forwarded"):
        request = request_with((header, "6.6.6.6" if header[0] == "x" else "for=6.6.6.6"), peer="198.51.100.1")
        assert BOOK.address_of(request) == "198.51.100.1"
        assert AddressBook("").address_of(request) == "198.51.100.1"


def test_a_proxy_by_its_mapped_address_is_that_proxy() -> None:
    assert BOOK.address_of(request_with(("x-forwarded-for", V4), peer="::ffff:127.0.0.1")) == V4


def test_a_proxy_that_says_nothing_is_counted_itself() -> None:
    assert BOOK.address_of(request_with()) == "127.0.0.1"


@settings(max_examples=2_000, deadline=None)
@given(st.integers(min_value=0, max_value=2**64))
def test_generated_headers(seed: int) -> None:
    forwarded_case(Random(seed))
