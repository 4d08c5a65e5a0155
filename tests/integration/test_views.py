"""What each view of the warehouse counts, on a story small enough to count by hand.

Shares A (whatsapp) and B (email) are Maya's, C (whatsapp) is Alex's.

    1 March   10:00     A made, shows p1 and p2         2 March   09:00  C made, shows p2 and p3
              10:00:05  a program fetches A (US)                  10:00  v1 looks at A again (DE)
              11:00     B made, shows p1                          10:30  a program fetches B (US)
              12:00     v1 looks at A (DE)                        11:00  v3 looks at C (country unknown)
              12:10     R1 begins list L1 with p1 of A            11:30  R2 begins list L2 with p3 of C
              12:11     R1 adds p2 of A                           12:00  B revoked
              12:30     v1 looks at A again (DE)
              13:00     v2 looks at A (FR)

The first look and the first adding stand in the table twice.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest
import sqlglot

from clients.bigquery import Warehouse
from clients.bigquery_rows import RowFormat
from ops.warehouse import views
from schemas.event import Channel, EventType, ShareEvent
from sinks.bigquery import row_of
from tests.lab import event
from tests.warehouse import made_warehouse

DOCUMENT = Path(__file__).parents[2] / "docs" / "analytics.md"
FIRST, SECOND = date(2026, 3, 1), date(2026, 3, 2)
A, B, C = "A" * 22, "B" * 22, "C" * 22
MAYA, ALEX, R1, R2, L1, L2 = (UUID(int=number) for number in range(1, 7))
CHANNELS = {A: Channel.WHATSAPP, B: Channel.EMAIL, C: Channel.WHATSAPP}


def said(kind: EventType, token: str, day: date, clock: str, **fields: Any) -> ShareEvent:
    """An event of the story."""
    when = datetime.fromisoformat(f"{day}T{clock}").replace(tzinfo=UTC)
    owner = ALEX if token == C else MAYA
    plain = {"platform": "web", "timestamp": when, "user_id": owner, "share_channel": CHANNELS[token]}
    return event(kind, token, **{**plain, **fields})


def looked(token: str, day: date, clock: str, who: str, country: str, platform: str = "web") -> ShareEvent:
    """A person's view."""
    return said(EventType.VIEWED, token, day, clock, visitor_hash=who, country=country, platform=platform)


def fetched(token: str, day: date, clock: str) -> ShareEvent:
    """A program's view."""
    return said(EventType.VIEWED, token, day, clock, visitor_hash="robot", country="US", is_bot=True)


def added(token: str, day: date, clock: str, who: UUID, product: str, to: UUID, **fields: Any) -> ShareEvent:
    """An item copied."""
    return said(
        EventType.ITEM_ADDED, token, day, clock,
        recipient_user_id=who, product_id=product, recipient_wishlist_id=to, **fields,
    )  # fmt: skip


FIRST_LOOK = looked(A, FIRST, "12:00", "v1", "DE", "mobile")
FIRST_ADDING = added(A, FIRST, "12:10", R1, "p1", L1, created_wishlist=True, platform="mobile")
STORY = [
    said(EventType.CREATED, A, FIRST, "10:00", product_ids=("p1", "p2"), platform="mobile"),
    fetched(A, FIRST, "10:00:05"),
    said(EventType.CREATED, B, FIRST, "11:00", product_ids=("p1",)),
    FIRST_LOOK,
    FIRST_ADDING,
    added(A, FIRST, "12:11", R1, "p2", L1, platform="mobile"),
    looked(A, FIRST, "12:30", "v1", "DE", "mobile"),
    looked(A, FIRST, "13:00", "v2", "FR"),
    said(EventType.CREATED, C, SECOND, "09:00", product_ids=("p2", "p3")),
    looked(A, SECOND, "10:00", "v1-of-the-second", "DE", "mobile"),
    fetched(B, SECOND, "10:30"),
    looked(C, SECOND, "11:00", "v3", ""),
    added(C, SECOND, "11:30", R2, "p3", L2, created_wishlist=True),
    said(EventType.REVOKED, B, SECOND, "12:00"),
    FIRST_LOOK,
    FIRST_ADDING,
]
IDS = {token: str(next(e.share_id for e in STORY if e.share_token == token)) for token in (A, B, C)}


def message(id: str, event: str | None, clock: str = "10:00:00", **fields: Any) -> dict[str, Any]:
    """A message of the first day."""
    when = datetime.fromisoformat(f"{FIRST}T{clock}").replace(tzinfo=UTC)
    row = {"event_date": FIRST, "id": id, "type": "track", "event": event, "timestamp": when, "received_at": when}
    return {**row, **fields}


MOBILE, WEB = {"platform": "mobile"}, {"platform": "web"}
BEGUN = {**MOBILE, "share_channel": "whatsapp"}
MADE = {**BEGUN, "share_token": A, "share_id": IDS[A], "item_count": 2, "variant": "variant-b"}
# Four buttons on mobile, one of them sent twice, and two on the web; the making of A comes from client and system.
MESSAGES = [
    *(message(f"m{n}", "share_button_viewed", wishlist_item_count=2, **MOBILE) for n in (1, 2, 3, 4, 4)),
    *(message(f"w{n}", "share_button_viewed", wishlist_item_count=1, **WEB) for n in (1, 2)),
    message("i1", "share_initiated", **BEGUN, wishlist_item_count=2, variant="variant-b"),
    message("i2", "share_initiated", **WEB, share_channel="email"),
    message("c1", "share_completed", "10:00:01", **MADE, context_library_name="wishlist-social"),
    message("c1", "share_completed", "10:00:02", **MADE, context_library_name="analytics.js"),
    message("k1", "share_link_clicked", **MOBILE, share_id=IDS[A], is_authenticated=True, referrer="https://t.co"),
    message("p1", None, "11:00:00", type="identify", user_id="u1", country="DE", account_type="customer"),
    message("p2", None, "12:00:00", type="identify", user_id="u1", country="FR"),
    message("x1", None, type="page", user_id="u1"),
]
MORNING, EVENING = datetime(2026, 3, 1, 8, tzinfo=UTC), datetime(2026, 3, 1, 20, tzinfo=UTC)


def product(id: str, name: str, at: datetime) -> dict[str, Any]:
    """A product as it was found."""
    return {"changed_at": at, "product_id": id, "product_name": name, "price": "9.99", "currency": "USD",
            "in_stock": True, "is_removed": False}  # fmt: skip


PRODUCTS = [product("p1", "Lamp", MORNING), product("p1", "Desk Lamp", EVENING), product("p2", "Scarf", MORNING)]
USERS = [
    {"changed_at": MORNING, "country": "DE", "users": 10},
    {"changed_at": EVENING, "country": "DE", "users": 50_000},
    {"changed_at": MORNING, "country": "FR", "users": 200_000},
]

EXPECTED: dict[str, list[dict[str, Any]]] = {
    "share_creation_daily": [
        {"event_date": FIRST, "shares_created": 2, "sharing_users": 1, "shares_per_user": 2.0},
        {"event_date": SECOND, "shares_created": 1, "sharing_users": 1, "shares_per_user": 1.0},
    ],
    # On the first day v1 looks twice and v2 once; R1 adds twice from one share. On the second v1 and v3 look, R2 adds.
    "share_conversion_daily": [
        {"event_date": FIRST, "views": 3, "raw_views": 4, "unique_viewers": 2, "converting_views": 1,
         "conversion_rate": 1 / 3},
        {"event_date": SECOND, "views": 2, "raw_views": 3, "unique_viewers": 2, "converting_views": 1,
         "conversion_rate": 1 / 2},
    ],
    # L1 / {A}; L2 / {A, C}; both / {A, C}. Only a program has seen B.
    "viral_coefficient_daily": [
        {"event_date": FIRST, "new_wishlists": 1, "shares_with_views": 1, "viral_coefficient": 1.0},
        {"event_date": SECOND, "new_wishlists": 1, "shares_with_views": 2, "viral_coefficient": 0.5},
    ],
    "viral_coefficient": [{"new_wishlists": 2, "shares_with_views": 2, "viral_coefficient": 1.0}],
    # A and C, by Maya and Alex.
    "productive_shares_per_user": [
        {"productive_shares": 2, "sharing_users": 2, "productive_shares_per_user": 1.0},
    ],
    "items_added_daily": [
        {"event_date": FIRST, "items_added": 2, "shares_with_adds": 1, "items_added_per_share": 2.0},
        {"event_date": SECOND, "items_added": 1, "shares_with_adds": 1, "items_added_per_share": 1.0},
    ],
    "items_added_by_share": [
        {"share_id": IDS[A], "items_added": 2, "recipients": 1},
        {"share_id": IDS[B], "items_added": 0, "recipients": 0},
        {"share_id": IDS[C], "items_added": 1, "recipients": 1},
    ],
    "share_channel_distribution": [
        {"event_date": FIRST, "share_channel": "email", "shares": 1, "part_of_day": 0.5},
        {"event_date": FIRST, "share_channel": "whatsapp", "shares": 1, "part_of_day": 0.5},
        {"event_date": SECOND, "share_channel": "whatsapp", "shares": 1, "part_of_day": 1.0},
    ],
    "geographic_distribution_daily": [
        {"event_date": FIRST, "country": "DE", "views": 2, "raw_views": 2},
        {"event_date": FIRST, "country": "FR", "views": 1, "raw_views": 1},
        {"event_date": FIRST, "country": "US", "views": 0, "raw_views": 1},
        {"event_date": SECOND, "country": "", "views": 1, "raw_views": 1},
        {"event_date": SECOND, "country": "DE", "views": 1, "raw_views": 1},
        {"event_date": SECOND, "country": "US", "views": 0, "raw_views": 1},
    ],
    # A from the first 10:00 to the second 10:00; B was seen by a program only, 23.5 h on; C from 09:00 to 11:00.
    "share_link_lifespan": [
        {"share_id": IDS[A], "share_channel": "whatsapp", "created_at": datetime(2026, 3, 1, 10, tzinfo=UTC),
         "last_viewed_at": datetime(2026, 3, 2, 10, tzinfo=UTC), "lifespan_hours": 24.0, "raw_lifespan_hours": 24.0,
         "views": 4, "raw_views": 5},
        {"share_id": IDS[B], "share_channel": "email", "created_at": datetime(2026, 3, 1, 11, tzinfo=UTC),
         "last_viewed_at": None, "lifespan_hours": None, "raw_lifespan_hours": 23.5, "views": 0, "raw_views": 1},
        {"share_id": IDS[C], "share_channel": "whatsapp", "created_at": datetime(2026, 3, 2, 9, tzinfo=UTC),
         "last_viewed_at": datetime(2026, 3, 2, 11, tzinfo=UTC), "lifespan_hours": 2.0, "raw_lifespan_hours": 2.0,
         "views": 1, "raw_views": 1},
    ],
    # B was made on the first day and revoked on the second: it counts for the first.
    "revocation_daily": [
        {"event_date": FIRST, "shares_created": 2, "shares_revoked": 1, "revocation_rate": 0.5},
        {"event_date": SECOND, "shares_created": 1, "shares_revoked": 0, "revocation_rate": 0.0},
    ],
    # One begun of four buttons on mobile, one of two on the web; the one on mobile was made, the one on the web not.
    "share_funnel_daily": [
        {"event_date": FIRST, "platform": "mobile", "share_channel": None, "buttons_viewed": 4, "initiated": 0,
         "completed": 0, "initiation_rate": 1 / 4, "completion_rate": None},
        {"event_date": FIRST, "platform": "mobile", "share_channel": "whatsapp", "buttons_viewed": 0, "initiated": 1,
         "completed": 1, "initiation_rate": 1 / 4, "completion_rate": 1.0},
        {"event_date": FIRST, "platform": "web", "share_channel": None, "buttons_viewed": 2, "initiated": 0,
         "completed": 0, "initiation_rate": 1 / 2, "completion_rate": None},
        {"event_date": FIRST, "platform": "web", "share_channel": "email", "buttons_viewed": 0, "initiated": 1,
         "completed": 0, "initiation_rate": 1 / 2, "completion_rate": 0.0},
    ],
    "share_engagement_daily": [
        {"event_date": FIRST, "share_channel": "email", "platform": "web", "shares_created": 1, "shares_viewed": 0,
         "raw_shares_viewed": 0, "items_added_from_shares": 0},
        {"event_date": FIRST, "share_channel": "whatsapp", "platform": "mobile", "shares_created": 1,
         "shares_viewed": 2, "raw_shares_viewed": 2, "items_added_from_shares": 2},
        {"event_date": FIRST, "share_channel": "whatsapp", "platform": "web", "shares_created": 0, "shares_viewed": 1,
         "raw_shares_viewed": 2, "items_added_from_shares": 0},
        {"event_date": SECOND, "share_channel": "email", "platform": "web", "shares_created": 0, "shares_viewed": 0,
         "raw_shares_viewed": 1, "items_added_from_shares": 0},
        {"event_date": SECOND, "share_channel": "whatsapp", "platform": "mobile", "shares_created": 0,
         "shares_viewed": 1, "raw_shares_viewed": 1, "items_added_from_shares": 0},
        {"event_date": SECOND, "share_channel": "whatsapp", "platform": "web", "shares_created": 1, "shares_viewed": 1,
         "raw_shares_viewed": 1, "items_added_from_shares": 1},
    ],
    "shared_products_daily": [
        {"event_date": FIRST, "product_id": "p1", "times_shared": 2, "times_added_from_share": 1},
        {"event_date": FIRST, "product_id": "p2", "times_shared": 1, "times_added_from_share": 1},
        {"event_date": SECOND, "product_id": "p2", "times_shared": 1, "times_added_from_share": 0},
        {"event_date": SECOND, "product_id": "p3", "times_shared": 1, "times_added_from_share": 1},
    ],
    # The catalogue has renamed p1, and does not know p3.
    "top_shared_products": [
        {"product_id": "p1", "product_name": "Desk Lamp", "times_shared": 2, "times_added_from_share": 1,
         "conversion_rate": 0.5},
        {"product_id": "p2", "product_name": "Scarf", "times_shared": 2, "times_added_from_share": 1,
         "conversion_rate": 0.5},
        {"product_id": "p3", "product_name": "p3", "times_shared": 1, "times_added_from_share": 1,
         "conversion_rate": 1.0},
    ],
    # 2 / 50,000 and 1 / 200,000 users, times 100,000.
    "views_per_100k_users": [
        {"event_date": FIRST, "country": "DE", "views": 2, "users": 50_000, "views_per_100k_users": 4.0},
        {"event_date": FIRST, "country": "FR", "views": 1, "users": 200_000, "views_per_100k_users": 0.5},
        {"event_date": FIRST, "country": "US", "views": 0, "users": None, "views_per_100k_users": None},
        {"event_date": SECOND, "country": "", "views": 1, "users": None, "views_per_100k_users": None},
        {"event_date": SECOND, "country": "DE", "views": 1, "users": 50_000, "views_per_100k_users": 2.0},
        {"event_date": SECOND, "country": "US", "views": 0, "users": None, "views_per_100k_users": None},
    ],
    "users": [{"id": "u1", "received_at": datetime(2026, 3, 1, 12, tzinfo=UTC), "account_type": "customer",
               "country": "FR", "created_at": None}],
}  # fmt: skip
# Of views with many columns, those that tell one row from another.
EXPECTED_PARTS: dict[str, tuple[str, list[tuple[Any, ...]]]] = {
    "share_events_once": ("event_id", [(str(e.event_id),) for e in STORY[:-2]]),
    "segment_messages_once": ("id, context_library_name", [
        (id, "wishlist-social" if id == "c1" else None)
        for id in ("c1", "i1", "i2", "k1", "m1", "m2", "m3", "m4", "p1", "p2", "w1", "w2", "x1")
    ]),
    "tracks": ("id", [(id,) for id in ("c1", "i1", "i2", "k1", "m1", "m2", "m3", "m4", "w1", "w2")]),
    "identifies": ("id, country", [("p1", "DE"), ("p2", "FR")]),
    "share_button_viewed": ("id, platform, wishlist_item_count", [
        ("m1", "mobile", 2), ("m2", "mobile", 2), ("m3", "mobile", 2), ("m4", "mobile", 2), ("w1", "web", 1),
        ("w2", "web", 1),
    ]),
    "share_initiated": ("id, variant, share_channel, wishlist_item_count", [
        ("i1", "variant-b", "whatsapp", 2), ("i2", None, "email", None),
    ]),
    "share_completed": ("id, variant, platform, share_channel, share_token, share_id, item_count", [
        ("c1", "variant-b", "mobile", "whatsapp", A, IDS[A], 2),
    ]),
    "share_link_clicked": ("id, share_id, referrer, is_authenticated", [("k1", IDS[A], "https://t.co", True)]),
    "products": ("product_id, product_name", [("p1", "Desk Lamp"), ("p2", "Scarf")]),
    "users_by_country": ("country, users", [("DE", 50_000), ("FR", 200_000)]),
    # v1's two looks of the first day, with the row that stands there twice, and v2's; the lists that were begun.
    "viral_share_days": ("event_date, share_id, new_wishlist_id, views", [
        (FIRST, IDS[A], None, 4), (FIRST, IDS[A], str(L1), 0), (SECOND, IDS[A], None, 1), (SECOND, IDS[C], None, 1),
        (SECOND, IDS[C], str(L2), 0),
    ]),
}  # fmt: skip


@pytest.fixture(scope="module")
def warehouse() -> Iterator[Warehouse]:
    with made_warehouse(f"views_{uuid4().hex[:12]}") as warehouse:
        rows = {
            "share_events": [row_of(e) for e in STORY],
            "segment_messages": MESSAGES,
            "product_versions": PRODUCTS,
            "user_counts": USERS,
        }
        for table, content in rows.items():
            form = RowFormat(warehouse.schema(table))
            stream = warehouse.open_stream(table)
            warehouse.append(stream, [form.encode(row) for row in content], form)
        yield warehouse


def in_order(rows: list[Any]) -> list[Any]:
    """Rows as a view may give them in any order, sorted."""
    return sorted(rows, key=str)


@pytest.mark.parametrize("view", EXPECTED)
def test_the_view_counts_what_can_be_counted_by_hand(warehouse: Warehouse, view: str) -> None:
    rows = warehouse.query(f"SELECT * FROM `{warehouse.dataset}.{view}`")
    found, wanted = in_order(rows), in_order(EXPECTED[view])
    assert [list(row) for row in found] == [list(row) for row in wanted]
    assert found == wanted


@pytest.mark.parametrize("view", EXPECTED_PARTS)
def test_the_view_has_the_rows_that_can_be_found_by_hand(warehouse: Warehouse, view: str) -> None:
    columns, wanted = EXPECTED_PARTS[view]
    rows = warehouse.query(f"SELECT {columns} FROM `{warehouse.dataset}.{view}`")
    assert in_order([tuple(row.values()) for row in rows]) == in_order(wanted)


QUESTIONS = re.findall(r"\*\*(\d+)\. (.*?)\*\*.*?```sql\n(.*?)```", DOCUMENT.read_text(encoding="utf-8"), re.DOTALL)


@pytest.mark.parametrize(("number", "question", "sql"), QUESTIONS, ids=[number for number, *_ in QUESTIONS])
def test_a_question_of_the_documentation_has_an_answer(
    warehouse: Warehouse, number: str, question: str, sql: str
) -> None:
    sqlglot.parse_one(sql, dialect="bigquery")
    sql = sql.replace("`wishlist_social.", f"`{warehouse.dataset}.").replace("CURRENT_DATE()", "DATE '2026-03-10'")
    assert warehouse.query(sql), question


def test_there_are_ten_questions() -> None:
    assert [number for number, *_ in QUESTIONS] == [str(number) for number in range(1, 11)]


def test_every_view_is_tested_here_and_says_what_it_counts() -> None:
    assert {view.name for view in views()} == {*EXPECTED, *EXPECTED_PARTS}
    assert all(len(view.comment) > 40 for view in views())
