"""Messages of the Segment interface: what is kept of them, and what tells one from another."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from api.segment import Refused, _message
from schemas import segment
from schemas.segment import SegmentMessage

NOW = datetime(2026, 11, 26, 12, tzinfo=UTC)


def taken(sent_at: str | None = None, **changes: Any) -> SegmentMessage:
    """A message of the interface, as it is taken at ``NOW``."""
    raw = {"type": "track", "messageId": "m1", "event": "share_initiated", "userId": "user_maya", **changes}
    return _message(raw, sent_at, NOW)


def test_what_names_people_is_not_kept() -> None:
    message = taken(
        properties={"platform": "web", "email": "maya@example.com", "referrer": "https://mail.example/inbox/maya?x=1"},
        traits={"email": "maya@example.com", "name": "Maya", "address": {"city": "Berlin"}, "country": "DE"},
        context={"ip": "203.0.113.7", "page": {"url": "https://vantage.com/wishlists/shared/secret"}, "locale": "de"},
    )
    value = segment.encode(message).decode()
    for secret in ("maya@", "Maya", "Berlin", "203.0.113.7", "secret", "inbox"):
        assert secret not in value
    assert json.loads(value)["properties"] == {"platform": "web", "referrer": "https://mail.example"}
    assert json.loads(value)["traits"] == {"country": "DE"}


@pytest.mark.parametrize(
    ("changes", "field", "remedy"),
    [
        ({"userId": "maya@example.com"}, "userId", "tells nobody"),
        ({"userId": None, "anonymousId": None}, "userId", "Send userId or anonymousId"),
        ({"event": None}, "event", "Name the event"),
        ({"type": "tracks"}, "type", "identify"),
        ({"properties": {"platform": "tv"}}, "properties.platform", "web, mobile"),
        ({"properties": {"variant": "b"}}, "properties.variant", "variant-b"),
        ({"properties": {"share_channel": "fax"}}, "properties.share_channel", "whatsapp"),
        ({"properties": {"share_token": "../.."}}, "properties.share_token", "letters and digits"),
        ({"properties": {"item_count": -1}}, "properties.item_count", "docs/analytics.md"),
        ({"timestamp": "yesterday"}, "timestamp", "ISO 8601"),
        ({"timestamp": "2020-01-01T00:00:00Z"}, "timestamp", "clock"),
        ({"timestamp": "2026-11-28T00:00:00Z"}, "timestamp", "clock"),
        ({"properties": {"padding": "x" * 40_000}}, "message", "fewer properties"),
    ],
)
def test_a_bad_message_is_told_which_field_and_what_to_send(changes: dict[str, Any], field: str, remedy: str) -> None:
    with pytest.raises(Refused) as refused:
        taken(**changes)
    assert refused.value.detail["field"] == field
    assert remedy in refused.value.detail["remedy"]


def test_a_clock_that_is_off_is_put_right_by_what_it_says_while_sending() -> None:
    message = taken("2026-11-26T10:00:10Z", timestamp="2026-11-26T10:00:00Z")
    assert message.original_timestamp == datetime(2026, 11, 26, 10, tzinfo=UTC)
    assert message.timestamp == NOW - timedelta(seconds=10)


def test_without_times_it_happened_when_it_came() -> None:
    assert taken().timestamp == NOW


@pytest.mark.parametrize("text", ["Share Initiated", "share_initiated", " Share-Initiated!"])
def test_an_event_is_named_as_segment_names_its_table(text: str) -> None:
    assert taken(event=text).event_name == "share_initiated"


def test_one_message_id_is_one_message_also_around_a_weeks_border() -> None:
    monday = datetime(2026, 11, 30, tzinfo=UTC)

    def at(shift: timedelta, message_id: str = "m1") -> SegmentMessage:
        return SegmentMessage(message_id=message_id, type="page", timestamp=monday + shift, received_at=monday)

    before, after = at(timedelta(seconds=-1)), at(timedelta(seconds=1))
    assert before.ledger_ids[0] != after.ledger_ids[0]
    assert before.ledger_ids[0] in after.ledger_ids
    assert after.ledger_ids[0] in before.ledger_ids
    assert set(before.ledger_ids).isdisjoint(at(timedelta(seconds=-1), "m2").ledger_ids)
    assert at(timedelta(days=2)).ledger_ids == (after.ledger_ids[0],), "in the midst of a week there is one id"


def test_a_message_survives_its_record() -> None:
    message = taken(properties={"is_authenticated": False}, traits={"created_at": "2025-01-01T00:00:00Z"})
    assert segment.decode(segment.encode(message)) == message
