"""The simulated shop: the spec's figures, the same for the same seed."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, date, datetime

import pytest

from ops.simulation import plan, world
from ops.simulation.events import events_of
from ops.simulation.plan import Plan, busyness
from ops.simulation.sessions import messages_of
from ops.simulation.world import World
from schemas.event import EventType
from schemas.segment import said_by

END = datetime(2025, 12, 24, tzinfo=UTC)
EVENTS = 40_000


@pytest.fixture(scope="module")
def shop() -> tuple[World, Plan]:
    people = world.make(1, EVENTS)
    return people, plan.make(1, EVENTS, END, 60, people)


def test_events_are_as_many_as_asked_for_and_the_same_again(shop: tuple[World, Plan]) -> None:
    people, story = shop
    first = [event.event_id for event in events_of(story)]
    assert len(first) == len(set(first)) == EVENTS
    again = plan.make(1, EVENTS, END, 60, world.make(1, EVENTS))
    assert [event.event_id for event in events_of(again)] == first
    other = plan.make(2, EVENTS, END, 60, people)
    assert not set(first) & {event.event_id for event in events_of(other)}


def test_channels_and_platforms_are_the_specs(shop: tuple[World, Plan]) -> None:
    events = list(events_of(shop[1]))
    shares = [event for event in events if event.event_type is EventType.CREATED]
    channels = Counter(str(share.share_channel) for share in shares)
    for channel, expected in {"copy_link": 45, "whatsapp": 25, "email": 15, "facebook": 10, "twitter": 5}.items():
        assert 100 * channels[channel] / len(shares) == pytest.approx(expected, abs=2)
    views = [event for event in events if event.event_type is EventType.VIEWED]
    people = [view for view in views if not view.is_bot]
    assert 0.6 < sum(view.platform == "mobile" for view in people) / len(people) < 0.76
    assert 0.05 < 1 - len(people) / len(views) < 0.5, "programs fetch some"
    assert max(Counter(view.visitor_hash for view in people).values()) > 20, "somebody overdoes it"


def test_the_funnel_is_the_specs(shop: tuple[World, Plan]) -> None:
    people, story = shop
    messages = {message.message_id: message for message in messages_of(story, people)}
    counts = Counter(message.event for message in messages.values())
    assert counts["share_initiated"] / counts["share_button_viewed"] == pytest.approx(0.08, abs=0.004)
    assert counts["share_completed"] / counts["share_initiated"] == pytest.approx(0.92, abs=0.01)
    variants = Counter(m.properties.variant for m in messages.values() if m.event == "share_button_viewed")
    assert variants["control"] / variants.total() == pytest.approx(0.5, abs=0.08)
    rates = {
        variant: sum(m.properties.variant == variant and m.event == "share_initiated" for m in messages.values())
        / variants[variant]
        for variant in ("control", "variant-a", "variant-b")
    }
    assert rates["control"] < rates["variant-a"] < rates["variant-b"]


def test_client_and_system_say_the_same_of_a_share(shop: tuple[World, Plan]) -> None:
    people, story = shop
    by_client = {m.message_id: m for m in messages_of(story, people) if m.event == "share_completed"}
    by_system = {m.message_id: m for m in map(said_by, events_of(story)) if m and m.event == "share_completed"}
    assert by_client.keys() == by_system.keys()
    for message_id, message in by_client.items():
        assert message.properties == by_system[message_id].properties


def test_gifts_have_seasons_and_lists_have_weekends() -> None:
    plain = busyness(date(2025, 7, 2))
    assert busyness(date(2025, 12, 13)) > 2 * plain
    assert busyness(date(2025, 12, 25)) < plain
    assert busyness(date(2025, 7, 5)) > plain
    assert busyness(date(2025, 11, 28)) > busyness(date(2025, 11, 26)), "Black Friday"


@pytest.mark.parametrize("events", [1, 10, 1_000])
def test_small_shops_work_too(events: int) -> None:
    people = world.make(1, events)
    story = plan.make(1, events, END, 14, people)
    assert len(list(events_of(story))) == events
    assert list(messages_of(story, people))
