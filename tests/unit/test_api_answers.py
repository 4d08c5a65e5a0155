"""Answers: the page, the one 404, the flag, and what is kept in Redis."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from api.create import is_enabled
from api.errors import ApiError, error_response, share_not_found
from api.idempotency import Plan, _dump, _load, fingerprint_of
from api.page import money
from api.reads import list_of_items
from api.shares_model import Share, SharedList, iso
from api.templates import render
from schemas.event import Channel

_TIMES = st.datetimes(datetime(2020, 1, 1), datetime(2040, 1, 1), timezones=st.just(UTC))
_TEXT = st.text(st.characters(exclude_categories=["Cs"]))
_SHARES = st.builds(
    Share,
    share_id=st.uuids(),
    token=st.text("0123456789abcXYZ", min_size=1, max_size=22),
    wishlist_id=st.uuids(),
    owner_id=st.uuids(),
    channel=st.sampled_from(Channel),
    expires_at=st.none() | _TIMES,
    hidden_item_ids=st.lists(st.uuids()).map(tuple),
    message=st.none() | _TEXT,
    created_at=_TIMES,
)


@given(_SHARES)
def test_a_cached_share_reads_as_it_was(share: Share) -> None:
    assert Share.from_json(share.to_json()) == share


@given(_TEXT, _TIMES)
def test_a_cached_list_reads_as_it_was(title: str, at: datetime) -> None:
    shown = SharedList(
        title=title,
        owner_display_name="Maya C.",
        owner_public_id="user_maya",
        listed_at=at,
        items="[]",
        item_count=0,
        total="0.00",
        currency=None,
    )
    assert SharedList.from_json(shown.to_json()) == shown


def test_a_kept_plan_reads_as_it_was() -> None:
    plan = Plan.new(fingerprint_of("wl_1", b"{}"))
    assert _load(_dump(plan)) == plan
    assert fingerprint_of("a", "b") != fingerprint_of("ab", "")


def test_the_404_of_a_share_says_nothing_of_the_request() -> None:
    for path in ("/wishlists/shared/x", "/api/v2/wishlists/shared/x", "/social/x/preview.png"):
        one, other = (share_not_found({"path": path, "state": {"request_id": f"req_{n}"}}) for n in range(2))
        assert one.status_code == 404
        assert (one.body, one.headers) == (other.body, other.headers)
        assert b"req_" not in one.body
        assert b"This shared wishlist is no longer available" in one.body


def test_error_bodies_are_the_specs() -> None:
    refused = ApiError(429, "RATE_LIMIT_EXCEEDED", "Too many.", extra={"retry_after_seconds": 9})
    answer = error_response({"path": "/api", "state": {"request_id": "req_1"}}, refused)
    assert orjson.loads(bytes(answer.body)) == {
        "error": "RATE_LIMIT_EXCEEDED",
        "message": "Too many.",
        "retry_after_seconds": 9,
        "request_id": "req_1",
    }
    assert answer.headers["content-type"] == "application/json; charset=utf-8"


def _page(**changes: Any) -> str:
    values: dict[str, Any] = {
        "token": "t" * 22,
        "title": "Holiday Gift Ideas 2025",
        "owner": "Maya C.",
        "message": None,
        "items": [],
        "item_count": 0,
        "total": None,
        "page_url": "https://vantage.com/wishlists/shared/t",
        "picture_url": "https://cdn.vantage.com/social/t/preview.png",
        "shop_url": "https://vantage.com",
    }
    return render("shared_list.html", **{**values, **changes}).decode()


def test_whatever_people_write_stays_text() -> None:
    evil = """"><script>alert(1)</script>'&"""
    item = {"product_id": evil, "name": evil, "image_url": evil, "in_stock": True, "price_text": evil}
    page = _page(title=evil, owner=evil, message=evil, items=[item], item_count=1)
    assert "<script>alert" not in page
    assert len(re.findall("<script>", page)) == 1


def test_prices_are_written_as_people_write_them() -> None:
    assert money(1577.47, "USD") == "$1,577.47"
    assert money(45.0, "EUR") == "€45.00"
    assert money(9.5, "SEK") == "9.50 SEK"


def test_totals_are_of_one_currency() -> None:
    def item(price: float, currency: str = "USD") -> dict[str, Any]:
        return {"product_id": "p", "price": price, "currency": currency}

    assert list_of_items([item(0.1), item(0.2)])[1:] == ("0.30", "USD")
    assert list_of_items([item(1), item(2, "EUR")])[1:] == ("null", None)
    assert list_of_items([]) == ("[]", "0.00", None)


@pytest.mark.parametrize(("percentage", "low", "high"), [(0, 0, 0), (100, 2_000, 2_000), (50, 900, 1_100)])
def test_the_flag_reaches_its_share_of_users(percentage: int, low: int, high: int) -> None:
    assert low <= sum(is_enabled(f"user_{n}", percentage) for n in range(2_000)) <= high


def test_a_user_keeps_the_feature_when_more_get_it() -> None:
    some = {n for n in range(500) if is_enabled(f"user_{n}", 10)}
    assert some <= {n for n in range(500) if is_enabled(f"user_{n}", 60)}


def test_a_share_is_open_until_it_expires() -> None:
    now = datetime(2025, 9, 16, tzinfo=UTC)
    share = Share(
        share_id=UUID(int=1),
        token="t",
        wishlist_id=UUID(int=2),
        owner_id=UUID(int=3),
        channel=Channel.EMAIL,
        expires_at=now,
        hidden_item_ids=(),
        message=None,
        created_at=now - timedelta(days=7),
    )
    assert share.is_open(now - timedelta(seconds=1))
    assert not share.is_open(now)
    assert iso(now) == "2025-09-16T00:00:00Z"
