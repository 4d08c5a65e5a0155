"""What the soak calls growth, and what it does not."""

from __future__ import annotations

import random
from itertools import islice

from bench.soak import Watch, judge_lag, judge_memory
from bench.soak_traffic import Traffic
from schemas.event import EventType

SECONDS = range(0, 1_200, 5)


def watch(rise_per_hour: float = 0.0, lag: float = 100.0, lag_rise: float = 0.0) -> Watch:
    dice = random.Random(1)
    memory = [(float(at), 150 + rise_per_hour * at / 3_600 + dice.gauss(0, 0.5)) for at in SECONDS]
    waiting = [(float(at), max(0.0, lag + lag_rise * at + dice.gauss(0, 40))) for at in SECONDS]
    return Watch(memory={"persist": memory, "renderer": memory}, lag={"group": waiting})


def test_memory_that_grows_is_found_and_the_renderers_is_not_judged() -> None:
    _, grown, figures = judge_memory(watch(rise_per_hour=30), 300, 12)
    assert len(grown) == 1
    assert grown[0].startswith("persist's memory grows")
    low, estimate, high = figures["persist"]["mb_per_hour"]
    assert low < 30 < high
    assert 28 < estimate < 32


def test_memory_that_wavers_is_flat() -> None:
    assert judge_memory(watch(), 300, 12)[1] == []


def test_what_grows_in_the_warm_up_only_is_flat() -> None:
    early = watch()
    early.memory["persist"] = [(at, held + min(at, 200.0)) for at, held in early.memory["persist"]]
    assert judge_memory(early, 300, 12)[1] == []


def test_a_lag_that_grows_or_stays_is_found() -> None:
    assert judge_lag(watch(), 300, 1_000)[1] == []
    assert "falls behind" in judge_lag(watch(lag_rise=20), 300, 1_000)[1][0]
    assert "falls behind" in judge_lag(watch(lag=15_000), 300, 1_000)[1][0]


def test_the_traffic_goes_on_after_its_story_with_the_same_shares_and_nothing_twice() -> None:
    traffic = Traffic(7)
    told = list(islice(traffic.events, 9_000))
    assert len({event.event_id for event in told}) == len(told)
    created = [event for event in told if event.event_type is EventType.CREATED]
    assert sorted(event.share_token for event in created) == traffic.tokens
    assert {event.share_token for event in told} == set(traffic.tokens)
    assert 200 < len(created) < 800
    assert sum(traffic.sent.values()) == len(told)
    assert not {EventType.REVOKED, EventType.EXPIRED} & {event.event_type for event in told}
