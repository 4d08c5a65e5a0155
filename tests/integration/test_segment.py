"""Messages of the Segment interface on their way from the topic to BigQuery."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from clients.bigquery import Warehouse
from ops.seed import key_of
from schemas.event import EventType
from schemas.ids import uuid7
from schemas.segment import (
    Context,
    Library,
    Properties,
    SegmentMessage,
    clicked_id,
    completed_id,
    encode,
)
from sinks.segment import GROUP
from tests.lab import Lab, event, eventually
from tests.warehouse import rows_of

NOW = datetime.now(UTC).replace(microsecond=0)


def by_client(message_id: str, name: str, at: datetime = NOW, **properties: object) -> SegmentMessage:
    """What a library in the client says."""
    return SegmentMessage(
        message_id=message_id,
        type="track",
        event=name,
        user_id="user_maya",
        timestamp=at,
        received_at=at,
        properties=Properties(**properties),  # type: ignore[arg-type]
        context=Context(library=Library(name="analytics.js", version="5.2.1")),
    )


async def test_what_client_and_system_both_say_is_one_row(lab: Lab, warehouse: Warehouse) -> None:
    made = event(variant="variant-b", platform="mobile")
    view_id = uuid7()
    seen = event(
        EventType.VIEWED, made.share_token, page_view_id=view_id, is_authenticated=True, visitor_hash="ab" * 16,
        referrer="https://t.co", user_agent="Mozilla/5.0", platform="web",
    )  # fmt: skip
    fetched = event(EventType.VIEWED, made.share_token, page_view_id=uuid7(), is_bot=True)
    said = [
        by_client(completed_id(made.share_token), "share_completed", share_token=made.share_token),
        by_client(completed_id(made.share_token), "share_completed", share_token=made.share_token),
        by_client(clicked_id(view_id), "share_link_clicked", share_token=made.share_token),
        by_client("m1", "share_initiated", variant="control", wishlist_item_count=9),
    ]
    lab.produce_events([made, seen, fetched])
    lab.produce([("user_maya", encode(message)) for message in said], lab.kafka.segment_topic)
    lab.start("segment")

    async def all_there() -> bool:
        marks = await lab.watermarks(GROUP + lab.env["STREAM_GROUP_SUFFIX"], lab.kafka.segment_topic)
        return sum(marks.values()) == len(said)

    await eventually(all_there, 60, "every message is applied")
    await lab.applied(GROUP + lab.env["STREAM_GROUP_SUFFIX"])
    rows = {row["id"]: row for row in await rows_of(warehouse, table="segment_messages")}
    assert set(rows) == {completed_id(made.share_token), clicked_id(view_id), "m1"}
    assert len(await rows_of(warehouse, table="segment_messages")) == 3
    completed = rows[completed_id(made.share_token)]
    assert completed["user_id"] == "user_maya", "the client's name for the owner, whoever was first"
    assert completed["share_id"] == str(made.share_id)
    assert rows["m1"]["variant"] == "control"


async def test_what_the_system_says_of_a_share(lab: Lab, warehouse: Warehouse) -> None:
    made = event(variant="variant-b", platform="mobile", item_count=8)
    view_id = uuid7()
    seen = event(
        EventType.VIEWED, made.share_token, page_view_id=view_id, is_authenticated=False, visitor_hash="ab" * 16,
        referrer="https://t.co", user_agent="Mozilla/5.0", platform="web", variant="variant-b",
    )  # fmt: skip
    lab.produce_events([made, seen, event(EventType.REVOKED, made.share_token)])
    lab.start("segment")
    await lab.applied(GROUP + lab.env["STREAM_GROUP_SUFFIX"])
    rows = {row["event"]: row for row in await rows_of(warehouse, table="segment_messages")}
    assert set(rows) == {"share_completed", "share_link_clicked"}
    completed, clicked = rows["share_completed"], rows["share_link_clicked"]
    assert made.user_id == key_of("user_maya")
    names = ("user_id", "variant", "platform", "share_channel", "share_token", "item_count", "context_library_name")
    assert [completed[name] for name in names] == [
        "user_maya", "variant-b", "mobile", str(made.share_channel), made.share_token, 8, "wishlist-social",
    ]  # fmt: skip
    names = ("user_id", "anonymous_id", "variant", "share_token", "referrer", "user_agent", "is_authenticated")
    assert [clicked[name] for name in names] == [
        None, "ab" * 16, "variant-b", made.share_token, "https://t.co", "Mozilla/5.0", False,
    ]  # fmt: skip


async def test_a_message_that_cannot_be_read_is_put_aside_and_the_rest_goes_on(lab: Lab, warehouse: Warehouse) -> None:
    good = [by_client(f"m{n}", "share_button_viewed", NOW - timedelta(minutes=n)) for n in range(20)]
    values = [("user_maya", encode(message)) for message in good]
    lab.produce([*values[:9], ("user_maya", b'{"messageId": 7}'), *values[9:]], lab.kafka.segment_topic)
    lab.start("segment")
    [(headers, value)] = lab.dead_letters(1)
    assert value == b'{"messageId": 7}'
    assert headers["original_topic"] == lab.kafka.segment_topic
    assert "message" in headers["error_message"]

    async def all_there() -> bool:
        return len(await rows_of(warehouse, "id", "segment_messages")) == len(good)

    await eventually(all_there, 60, "every good message is a row")
