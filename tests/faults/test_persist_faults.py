"""Poison among good events: every event once in PostgreSQL, or in the DLQ."""

from __future__ import annotations

from schemas.event import EventType, ShareEvent
from schemas.ids import new_share_token
from sinks.share_store import GROUP
from tests.lab import CODEC, Lab, event, expected_totals


def group(lab: Lab) -> str:
    return GROUP + lab.env["STREAM_GROUP_SUFFIX"]


def poison(token: str) -> dict[str, bytes]:
    good = CODEC.encode(event(token=token))
    clash = event(token=token, share_id=event().share_id)  # the token's UNIQUE constraint cannot hold
    return {
        "truncated": good[:-5],
        "unknown schema id": b"\0\0\0\0\x63" + good[5:],
        "wrong types": good[:5] + b"\x02\x02\x02\x02",
        "5 MB": good + b"\0" * 5_000_000,
        "constraint": CODEC.encode(clash),
        "NUL": CODEC.encode(event(message="a\0b")),
    }


async def test_poison_in_the_midst_of_good_events(lab: Lab) -> None:
    token = new_share_token()
    good: list[ShareEvent] = [event(token=token)]
    values = [(token, CODEC.encode(good[0]))]
    bad = poison(token)
    for value in bad.values():
        values.append((token, value))
        view = event(EventType.VIEWED, token, visitor_hash="v", page_view_id=event().event_id)
        good.append(view)
        values.append((token, CODEC.encode(view)))
    lab.produce(values)
    lab.start()
    await lab.applied(group(lab))
    assert await lab.totals() == expected_totals(good)
    letters = lab.dead_letters(len(bad))
    assert sorted(len(value or b"") for _, value in letters) == sorted(len(value) for value in bad.values())
    for headers, letter in letters:
        assert letter in bad.values()
        assert headers["group"] == group(lab)
        assert headers["original_topic"] == lab.kafka.events_topic
        assert int(headers["original_offset"]) > 0
        assert headers["error_class"] in {"MalformedEvent", "Reject"}
        assert headers["error_message"]
        assert {"traceback", "attempts", "first_failure", "last_failure", "redrive_count", "original_timestamp",
                "original_partition"} <= headers.keys()  # fmt: skip


async def test_poison_alone(lab: Lab) -> None:
    lab.start()
    token = new_share_token()
    lab.produce([(token, b"not an event")])
    await lab.applied(group(lab))
    [(headers, value)] = lab.dead_letters(1)
    assert value == b"not an event"
    assert "magic byte" in headers["error_message"]
    lab.produce_events([event(token=token)])
    await lab.applied(group(lab))
    assert (await lab.totals())["shares"] == 1
