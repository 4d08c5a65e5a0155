"""What ``POST /render`` accepts, and which cards are the same card."""

from __future__ import annotations

import json
from typing import Any

import pytest

from cards.card import THEMES, cache_key, page_data, theme_of
from cards.data import CardData
from renderer_worker.requests import InvalidRequest, parse

# Spec, "Internal HTTP Traces — OG Renderer Service", req_ogr_001.
TRACE: dict[str, Any] = {
    "template": "wishlist-share",
    "data": {
        "wishlist_title": "Holiday Gift Ideas 2025",
        "owner_name": "Maya C.",
        "items": [
            {
                "name": "Wireless Headphones",
                "image": "https://cdn.vantage.com/products/prod_1a2b3c/thumb.jpg",
                "price": "$249.99",
            },
            {
                "name": "Smart Watch",
                "image": "https://cdn.vantage.com/products/prod_4d5e6f/thumb.jpg",
                "price": "$399.00",
            },
        ],
        "item_count": 7,
    },
    "output": {"format": "png", "width": 1200, "height": 630, "quality": 85},
}


def changed(path: str, value: Any) -> bytes:
    body = json.loads(json.dumps(TRACE))
    place = body
    *parents, last = path.split(".")
    for parent in parents:
        place = place[int(parent) if parent.isdigit() else parent]
    place[last] = value
    return json.dumps(body).encode()


def test_the_traces_request_is_accepted() -> None:
    request = parse(json.dumps(TRACE).encode())
    assert request.data.wishlist_title == "Holiday Gift Ideas 2025"
    assert request.share_token is None


def test_an_owner_without_a_name_still_has_a_card() -> None:
    assert parse(changed("data.owner_name", "  ")).data.owner_name == ""


def test_only_template_and_data_are_needed() -> None:
    body = {"template": "wishlist-share", "data": {"wishlist_title": "A", "owner_name": "B", "item_count": 0}}
    assert parse(json.dumps(body).encode()).data.items == ()


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("template", "invoice"),
        ("data.wishlist_title", ""),
        ("data.wishlist_title", 7),
        ("data.wishlist_title", "x" * 501),
        ("data.owner_name", None),
        ("data.item_count", -1),
        ("data.items", [{}] * 201),
        ("data.items.0.price", "x" * 25),
        ("output.format", "svg"),
        ("output.width", 4000),
        ("output.quality", 0),
        ("share_token", "../../default"),
    ],
)
def test_a_wrong_field_is_named(field: str, value: Any) -> None:
    with pytest.raises(InvalidRequest) as caught:
        parse(changed(field, value))
    assert caught.value.field == field


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b'"x"', b"\xff\xfe"])
def test_what_is_no_request_names_the_body(body: bytes) -> None:
    with pytest.raises(InvalidRequest) as caught:
        parse(body)
    assert caught.value.field == "body"


def data(**changes: Any) -> CardData:
    return CardData.model_validate({**TRACE["data"], **changes})


def test_the_key_covers_what_is_drawn_and_the_template() -> None:
    key = cache_key("1", data())
    assert key == cache_key("1", data())
    assert len(key) == 32
    others = [
        cache_key("2", data()),
        cache_key("1", data(wishlist_title="Other")),
        cache_key("1", data(owner_name="Other")),
        cache_key("1", data(item_count=8)),
        cache_key("1", data(items=TRACE["data"]["items"][::-1])),
    ]
    assert len({key, *others}) == 6


def test_the_key_leaves_out_what_is_not_drawn() -> None:
    four = [{"name": str(n)} for n in range(4)]
    assert cache_key("1", data(items=four)) == cache_key("1", data(items=[*four, {"name": "fifth"}]))


def test_a_list_keeps_its_colours() -> None:
    assert theme_of(data()) == theme_of(data(items=[], item_count=1))
    assert {theme_of(data(wishlist_title=str(n))) for n in range(100)} == set(THEMES)


def test_the_page_gets_four_items_at_most() -> None:
    items = [{"name": str(n), "price": f"${n}"} for n in range(9)]
    card = page_data(data(items=items), ["data:,a", None, None, None])
    assert [item["image"] for item in card["items"]] == ["data:,a", None, None, None]
    assert [item["name"] for item in card["items"]] == ["0", "1", "2", "3"]
