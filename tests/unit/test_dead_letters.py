"""Dead letters: what is masked, which are meant, how they are summed up, and what a redriven record says of itself."""

from __future__ import annotations

import io
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import fastavro
import msgspec
import pytest
import typer
from aiokafka.structs import ConsumerRecord
from rich.console import Console

from ops.dead_letters import as_json, showing
from ops.dead_letters.desk import BadInput, group_named
from ops.dead_letters.letters import Filter, Letter, LetterId, State, age_of, heaps, refusal
from ops.dead_letters.masking import MASK, mask_fields, mask_text, mask_traceback
from ops.dead_letters.options import parse_time
from ops.dead_letters.reading import Content, merged
from ops.dead_letters.reveal import dump, reveal
from schemas.codec import MalformedEvent, Origin, load_schemas
from schemas.event import ShareEvent
from schemas.ids import new_share_token, uuid7
from sinks.contract import DeadLetter
from sinks.dead_letters import stored
from streams.decoding import segment_messages, share_events
from streams.dlq import headers_for as headers_of_a_dead_letter
from streams.redriven import headers_for as headers_of_a_redriven_record
from tests.lab import CODEC, event

NOW = datetime(2026, 3, 1, 3, 0, tzinfo=UTC)
TOPIC, SEGMENT, GROUP = "events", "segment", "share-store-wishlist-social"
READERS = {GROUP: {TOPIC}}
SECRET = event(
    message="Happy birthday, dear Maya!", recipient_user_id=uuid7(), user_agent="Mozilla/5.0 (Maya's phone)",
    referrer="https://mail.example/inbox?u=maya", visitor_hash="ab" * 16, country="DE",
)  # fmt: skip


def letter(number: int = 1, **changes: Any) -> Letter:
    values: dict[str, Any] = {
        "id": LetterId(0, number),
        "group": GROUP,
        "event_id": None,
        "topic": TOPIC,
        "partition": 3,
        "offset": 40 + number,
        "timestamp": NOW - timedelta(hours=2),
        "error_class": "MalformedEvent",
        "error_message": f"not Avro of schema 3: {number} bytes follow the record",
        "attempts": 1,
        "first_failure": NOW - timedelta(hours=2),
        "last_failure": NOW - timedelta(hours=2),
        "redrive_count": 0,
        "redrive_of": None,
        "kept_bytes": 300,
        "value_bytes": None,
    }
    return Letter(**{**values, **changes})


def record(value: bytes | None, headers: dict[str, str] | None = None, **changes: Any) -> ConsumerRecord:
    values: dict[str, Any] = {
        "topic": TOPIC, "partition": 5, "offset": 900, "timestamp": 1_772_000_000_123, "timestamp_type": 0,
        "key": b"k", "value": value, "checksum": None, "serialized_key_size": 1,
        "serialized_value_size": len(value or b""),
        "headers": tuple((name, text.encode()) for name, text in (headers or {}).items()),
    }  # fmt: skip
    return ConsumerRecord(**{**values, **changes})


def rendered(what: Any, width: int = 100) -> str:
    console = Console(file=io.StringIO(), width=width, markup=False)
    console.print(what)
    return console.file.getvalue()  # type: ignore[attr-defined]


# --- masking --------------------------------------------------------------------------------------------------


def words_of(said: ShareEvent) -> list[str]:
    return [
        said.share_token, str(said.user_id), str(said.recipient_user_id), said.message or "", said.user_agent,
        said.referrer, said.visitor_hash or "",
    ]  # fmt: skip


def test_an_event_is_shown_without_what_is_secret_or_personal() -> None:
    value, key = CODEC.encode(SECRET), SECRET.share_token
    error = f'duplicate key value violates unique constraint "shares_token"\nDETAIL:  Key (share_token)=({key}) exists.'
    trace = f"Traceback (most recent call last):\n  File \"x.py\", line 1\n    raise E('kept code')\nE: {error}\n"
    one = letter(error_message=error, first_failure=NOW)
    content = Content(key.encode(), value, trace)
    masked = reveal(one, content, CODEC, SEGMENT, unmask=False)
    seen = (
        rendered(showing.whole(one, masked, [], NOW))
        + msgspec.json.encode(as_json.whole_of(one, masked, [], NOW)).decode()
    )
    for word in words_of(SECRET):
        assert word
        assert word not in seen
    for word in (str(SECRET.event_id), str(SECRET.share_id), "share_created", "shares_token", "kept code", MASK):
        assert word in seen

    bare = reveal(one, content, CODEC, SEGMENT, unmask=True)
    seen = msgspec.json.decode(msgspec.json.encode(as_json.whole_of(one, bare, [], NOW)))
    assert seen["event"]["message"] == SECRET.message
    assert seen["event"]["share_token"] == seen["key"] == key
    assert key in seen["traceback"]


def test_what_is_no_event_shows_its_structure_only() -> None:
    value = b'{"messageId": 7, "event": "Maya bought", "traits": {"name": "Maya C.", "age": 41}, "list": ["x"]}'
    one = letter(topic=SEGMENT)
    held = reveal(one, Content(b"user_maya", value, ""), CODEC, SEGMENT, unmask=False)
    assert held.fields == {
        "messageId": MASK, "event": MASK, "traits": {"name": MASK, "age": MASK}, "list": [MASK],
    }  # fmt: skip
    assert "messageId" in (held.why_not or "")
    broken = reveal(letter(), Content(None, b"Maya's secret", ""), CODEC, SEGMENT, unmask=False)
    assert (broken.fields, broken.key, broken.value) == (None, None, None)
    assert "secret" not in rendered(showing.whole(letter(), broken, [], NOW))
    assert "13 bytes" in broken.bytes_said


def test_every_field_of_an_event_is_masked_or_known_to_be_harmless() -> None:
    shown = {name for name, value in mask_fields(msgspec.to_builtins(SECRET)).items() if value != MASK}
    personal = {"user_id", "recipient_user_id", "share_token", "message", "user_agent", "referrer", "visitor_hash"}
    assert personal.isdisjoint(shown)
    assert mask_fields({"field_of_tomorrow": "x"}) == {"field_of_tomorrow": MASK}
    assert mask_fields({"message": "", "visitor_hash": None}) == {"message": "", "visitor_hash": None}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("user_id: 'maya@example.com': Invalid UUID", "user_id: '[masked]': Invalid UUID"),
        ("share_token: 25 characters; expected 1 to 22", "share_token: 25 characters; expected 1 to 22"),
        ("no share 5hK9mN2pQ7rS4tV8wX1y3Z of maya@x.example", "no share [masked] of [masked]"),
        ("ConnectionRefusedError from 10.1.2.3", "ConnectionRefusedError from [masked]"),
        ('column "name" of "Maya"', "column \"name\" of '[masked]'"),
        ("UnicodeDecodeError: 'utf-8' codec can't decode", "UnicodeDecodeError: 'utf-8' codec can't decode"),
        ("refused\nDETAIL:  Failing row contains (Maya,\nhello).", "refused\nDETAIL:  [masked]"),
        ("argument $5: ['it is \\'Maya\\'', 'x']", "argument $5: ['[masked]', '[masked]']"),
    ],
)
def test_values_in_an_errors_message(text: str, expected: str) -> None:
    assert mask_text(text) == expected


def test_a_traceback_keeps_its_lines_of_code() -> None:
    trace = (
        "PgError: no\nDETAIL:  Key (a)=(Maya).\n\nThe above exception was the direct cause of:\n\nTraceback:\n"
        "  File \"a.py\", line 3, in f\n    raise Reject('code')\nReject: 'Maya'\n"
    )
    masked = mask_traceback(trace)
    assert "Maya" not in masked
    assert "File \"a.py\", line 3, in f\n    raise Reject('code')" in masked


def test_a_terminal_is_not_told_what_to_do_by_an_event() -> None:
    evil = event(user_agent="\x1b]0;owned\x07[red]x[/y]", message="a\x9b2J")
    one = letter(group="g\x1b[2J[/x]", error_message="\x1b[31m[bold]")
    held = reveal(one, Content(b"k", CODEC.encode(evil), "T\x1b[0m"), CODEC, SEGMENT, unmask=True)
    for view in (showing.whole(one, held, [], NOW), showing.each([one], NOW), showing.overview([one], NOW),
                 showing.plan([one], "to"), showing.refusals({one: "\x1b"})):  # fmt: skip
        seen = rendered(view)
        assert not set(seen) & {"\x1b", "\x07", "\x9b"}
        assert "\\x1b" in seen


def test_the_dump_of_a_value() -> None:
    assert dump(b"\0\0\0\0\3abc").splitlines() == ["0000  00000000 03616263                    ·····abc"]
    assert "488 bytes more" in dump(b"x" * 1_000)


# --- which are meant, and how they are summed up -----------------------------------------------------------------


@pytest.mark.parametrize(
    ("chosen", "expected"),
    [
        (Filter(), {1, 2, 3}),
        (Filter(ids=(LetterId(0, 2), LetterId(1, 1))), {2}),
        (Filter(group="other"), {2}),
        (Filter(error="MALFORMED"), {1, 2}),
        (Filter(error="never hold"), {3}),
        (Filter(topic=SEGMENT), {3}),
        (Filter(event=UUID(int=7)), {3}),
        (Filter(since=NOW - timedelta(hours=2)), {1, 3}),
        (Filter(until=NOW - timedelta(hours=2)), {2}),
        (Filter(states={State.OPEN}), {1, 2}),
        (Filter(group=GROUP, error="malformed"), {1}),
    ],
)
def test_which_letters_are_meant(chosen: Filter, expected: set[int]) -> None:
    letters = [
        letter(1),
        letter(2, group="other", last_failure=NOW - timedelta(days=3)),
        letter(
            3, topic=SEGMENT, event_id=UUID(int=7), error_class="Reject", error_message="can never hold",
            state=State.DISCARDED,
        ),
    ]  # fmt: skip
    assert {one.id.offset for one in letters if chosen.takes(one)} == expected


def test_letters_are_summed_up_by_group_error_and_age() -> None:
    letters = [
        *(letter(n) for n in range(4)),  # alike but for a number
        letter(10, last_failure=NOW - timedelta(minutes=3)),
        letter(11, error_message="share_token: 'a'", last_failure=NOW),
        letter(12, error_message="share_token: 'b'", last_failure=NOW - timedelta(seconds=1)),
        letter(13, group="a-group", last_failure=NOW - timedelta(days=8)),
    ]
    assert [(h.group, h.age, h.count, h.newest.id.offset) for h in heaps(letters, NOW)] == [
        ("a-group", "over 7 days", 1, 13),
        (GROUP, "1 h to 1 day", 4, 0),
        (GROUP, "under 15 min", 2, 11),
        (GROUP, "under 15 min", 1, 10),
    ]


@pytest.mark.parametrize(
    ("age", "words"),
    [(0, "under 15 min"), (15, "15 min to 1 h"), (60, "1 h to 1 day"), (1_440, "1 to 7 days"), (10_080, "over 7 days")],
)
def test_ages(age: int, words: str) -> None:
    assert age_of(letter(last_failure=NOW - timedelta(minutes=age)), NOW) == words


@pytest.mark.parametrize("width", [80, 120])
def test_no_line_of_a_list_is_wider_than_the_terminal(width: int) -> None:
    letters = [letter(n, error_message="x" * 300, group="recommendation-engine-social-signals") for n in range(3)]
    for view in (showing.overview(letters, NOW), showing.each(letters, NOW)):
        lines = rendered(view, width).splitlines()
        assert max(map(len, lines)) <= width
        assert "recommendation-engine-social-signals" in "".join(lines)


def test_a_letter_that_only_the_topic_has_shows_that_an_older_one_came_back() -> None:
    table = [letter(1, state=State.APPLIED), letter(2, state=State.APPLIED), letter(9)]
    topic = [letter(9, in_table=False), letter(10, redrive_of="0-1", in_table=False)]
    found = {one.id.offset: one for one in merged(table, topic)}
    assert found[1].state is State.RETURNED
    assert found[1].returned_as == LetterId(0, 10)
    assert found[2].state is State.APPLIED
    assert found[9].in_table
    assert len(found) == 4


# --- what must not go back ------------------------------------------------------------------------------------


def why(one: Letter, *, again: bool = False, most: int = 3) -> str:
    return refusal(one, again=again, max_redrives=most, readers=READERS) or ""


def test_a_letter_goes_back_once_unless_asked_for_again() -> None:
    assert why(letter()) == ""
    for state in (State.REDRIVEN, State.APPLIED, State.DISCARDED):
        assert f"is {state}" in why(letter(state=state))
        assert "--again" in why(letter(state=state))
        assert why(letter(state=state), again=True) == ""
    came_back = letter(state=State.RETURNED, returned_as=LetterId(1, 7))
    assert "1-7" in why(came_back, again=True)


def test_a_loop_is_refused_with_the_remedy() -> None:
    assert why(letter(redrive_count=2)) == ""
    assert "3 times" in why(letter(redrive_count=3))
    assert "DLQ_MAX_REDRIVES=4" in why(letter(redrive_count=3))
    assert why(letter(redrive_count=3), most=4) == ""
    # The same letter sent again and again is a loop too.
    assert "loop" in why(letter(redrive_count=1, sent_times=2, state=State.REDRIVEN), again=True)


def test_what_cannot_arrive_is_refused() -> None:
    assert "were kept" in why(letter(value_bytes=5_000_000))
    assert "has ever read" in why(letter(topic="elsewhere"))
    assert "has ever read" in why(letter(group="unknown"))


# --- what a redriven record says of itself ------------------------------------------------------------------------


def v1_value() -> bytes:
    schema = load_schemas()[1]
    buffer = io.BytesIO()
    buffer.write(b"\0\0\0\0\1")
    said = {
        "event_type": "share_created", "wishlist_id": str(uuid7()), "user_id": str(uuid7()),
        "share_token": new_share_token(), "share_channel": "email", "item_count": 3, "recipient_user_id": None,
        "timestamp": "2026-02-01T10:00:00Z", "metadata": {"user_agent": "", "referrer": "", "country": ""},
    }  # fmt: skip
    fastavro.schemaless_writer(buffer, fastavro.parse_schema(schema), said)
    return buffer.getvalue()


def test_a_version_1_event_that_is_redriven_is_the_same_event_however_often() -> None:
    decode, value = share_events(CODEC, GROUP), v1_value()
    first = record(value, timestamp=1_772_000_000_123)
    original = decode(first)
    assert original is not None
    row = stored(DeadLetter(0, 1, b"k", value, headers_of_a_dead_letter(first, GROUP, ValueError("x"), 1, NOW)))
    headers: dict[str, str] = {}
    for count in (1, 2):
        one = letter(topic=row.original_topic, partition=row.original_partition, offset=row.original_offset,
                     timestamp=row.original_timestamp)  # fmt: skip
        origin = Origin(one.topic, one.partition, one.offset, one.timestamp_ms)
        again = record(
            value, headers_of_a_redriven_record(GROUP, "0-1", count, origin), offset=5_000 + count, timestamp=1
        )
        assert decode(again) == original
        headers = headers_of_a_dead_letter(again, GROUP, ValueError("x"), 1, NOW)
        assert headers["redrive_count"] == str(count)
        assert headers["redrive_of"] == "0-1"
        row = stored(DeadLetter(0, 1 + count, b"k", value, headers))
    assert row.original_offset == first.offset
    assert row.redrive_of == "0-1"


def test_every_other_group_passes_a_redriven_record_by_whatever_its_bytes_are() -> None:
    headers = headers_of_a_redriven_record(GROUP, "0-1", 1, Origin(TOPIC, 1, 2, 3))
    for value in (b"garbage", None, CODEC.encode(event())):
        assert share_events(CODEC, "another")(record(value, headers)) is None
        assert segment_messages(CODEC, "another", TOPIC)(record(value, headers, topic=SEGMENT)) is None
    with pytest.raises(MalformedEvent):
        share_events(CODEC, GROUP)(record(b"garbage", headers))


def test_headers_that_lie_make_a_dead_letter_and_stop_nobody() -> None:
    headers = {**headers_of_a_redriven_record(GROUP, "0-1", 1, Origin(TOPIC, 1, 2, 3)), "original_offset": "x"}
    bad = record(CODEC.encode(event()), headers)
    with pytest.raises(MalformedEvent, match="headers"):
        share_events(CODEC, GROUP)(bad)
    assert headers_of_a_dead_letter(bad, GROUP, ValueError("x"), 1, NOW)["original_offset"] == str(bad.offset)
    huge = {"original_timestamp": "9" * 30, "original_offset": "9" * 30, "attempts": "-5", "redrive_count": "9" * 12,
            "last_failure": "0001-01-01T00:00:00+14:00", "group": "a\0b"}  # fmt: skip
    row = stored(DeadLetter(0, 1, None, None, huge))
    assert (row.original_offset, row.attempts, row.redrive_count, row.consumer_group) == (-1, 0, 0, "ab")
    assert row.original_timestamp == row.last_failure == datetime.fromtimestamp(0, UTC)


# --- what an operator types ---------------------------------------------------------------------------------------


def test_times_and_ages() -> None:
    assert parse_time("2026-03-01T02:30") == datetime(2026, 3, 1, 2, 30, tzinfo=UTC)
    assert parse_time("2026-03-01T02:30+02:00") == datetime(2026, 3, 1, 0, 30, tzinfo=UTC)
    for text, age in (("90m", 90), ("2h", 120), ("7d", 10_080), ("15min", 15)):
        assert abs(datetime.now(UTC) - timedelta(minutes=age) - parse_time(text)) < timedelta(seconds=5)
    for text in ("yesterday", "", "2x", "2026-13-01"):
        with pytest.raises(typer.BadParameter, match="2h, 7d"):
            parse_time(text)


def test_a_group_by_a_part_of_its_name() -> None:
    known = {GROUP, "preview-renderer-wishlist-social", "notification-service-social-digest"}
    assert group_named("store", known) == GROUP
    assert group_named(GROUP, known | {GROUP + "-blue"}) == GROUP
    for name in ("wishlist", "nobody"):
        with pytest.raises(BadInput, match=GROUP):
            group_named(name, known)


def test_ids() -> None:
    assert LetterId.parse("2-417") == LetterId(2, 417)
    assert str(LetterId(2, 417)) == "2-417"
    for text in ("2", "2-", "-1-2", "a-b", "2-417-1", "9" * 30 + "-1"):
        with pytest.raises(ValueError, match="2-417"):
            LetterId.parse(text)


def test_the_count_of_what_was_sent_before() -> None:
    assert replace(letter(), redrive_count=2, sent_times=1).sent_before == 3
