"""What people's clients tell Segment's interface: share buttons seen, clicked, and links made.

The spec's figures ("Looker Dashboard", tile 1): of a hundred buttons seen eight are clicked, of a hundred clicks 92 end
in a link. The variants differ, so that the experiment has something to find.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any

from ops.simulation.plan import CHANNELS, MOBILE, Plan, Story, moment
from ops.simulation.world import Person, World
from schemas.segment import Context, Library, Properties, SegmentMessage, Traits, completed_id

COMPLETED = 0.92
# Clicks for each button seen; with half of the people in the control group 8 % in all.
CLICKED = {"control": 0.076, "variant-a": 0.083, "variant-b": 0.086}
_LIBRARIES = {
    "web": Library(name="analytics.js", version="next-1.70.0"),
    "mobile": Library(name="analytics-ios", version="4.1.6"),
}
_SECOND = 1_000
# About as many, for whoever wants to know before they are made.
MESSAGES_OF_A_SHARE = 16


def messages_of(plan: Plan, world: World) -> Iterator[SegmentMessage]:
    """Every message around the shares of *plan*: about 16 for each share, in no order, the same for the same plan."""
    dice = random.Random(f"{plan.name}:sessions")
    known: set[str] = set()
    for story in plan.stories:
        yield from _of_share(story, dice, known, plan.name)
        yield from _of_others(story, dice, world, plan.name)


def _of_share(story: Story, dice: random.Random, known: set[str], name: str) -> Iterator[SegmentMessage]:
    """The session in which the share was made."""
    made = story.acts[0]
    owner, platform = story.owner, made.visitor.platform
    seed = f"{name}:{story.number}"
    if owner.public_id not in known:
        known.add(owner.public_id)
        traits = Traits(account_type="customer", country=owner.country, platform=platform)  # type: ignore[arg-type]
        yield _message(f"{seed}:identify", "identify", owner, platform, made.at - 60 * _SECOND, traits=traits)
    count = len(story.wishlist.items)
    clicked_at = made.at - dice.randrange(2 * _SECOND, 20 * _SECOND)
    yield _track(f"{seed}:seen", "share_button_viewed", owner, platform, clicked_at - dice.randrange(1, 90 * _SECOND),
                 wishlist_item_count=count)  # fmt: skip
    yield _track(f"{seed}:begun", "share_initiated", owner, platform, clicked_at,
                 wishlist_item_count=count, share_channel=str(story.channel))  # fmt: skip
    # The system says the same under the same id.
    yield _track(completed_id(story.token), "share_completed", owner, platform, made.at,
                 share_channel=str(story.channel), share_token=story.token, item_count=len(made.visible))  # fmt: skip


def _of_others(story: Story, dice: random.Random, world: World, name: str) -> Iterator[SegmentMessage]:
    """As many sessions without a share as go with it: buttons seen, now and then a click that led nowhere."""
    clicks = 1 + (dice.random() < 1 / COMPLETED - 1)
    seed = f"{name}:{story.number}:other"
    platform = story.acts[0].visitor.platform
    # Each click of the owner's group has so many buttons about it that were only seen.
    only_seen = clicks / CLICKED[story.owner.variant] - clicks
    number = int(only_seen) + (dice.random() < only_seen % 1) + (clicks - 1)
    for n in range(number):
        person = story.owner if n < clicks - 1 else _same_variant(story.owner, dice, world)
        if person.wishlist is None:
            continue
        at = story.acts[0].at - dice.randrange(86_400 * _SECOND)
        here = platform if n < clicks - 1 else "mobile" if dice.random() < MOBILE else "web"
        count = len(person.wishlist.items)
        yield _track(f"{seed}:{n}:seen", "share_button_viewed", person, here, at, wishlist_item_count=count)
        if n < clicks - 1:
            channel = dice.choices(list(CHANNELS), list(CHANNELS.values()))[0]
            yield _track(f"{seed}:{n}:begun", "share_initiated", person, here, at + dice.randrange(60 * _SECOND),
                         wishlist_item_count=count, share_channel=str(channel))  # fmt: skip


def _same_variant(owner: Person, dice: random.Random, world: World) -> Person:
    for _ in range(20):
        person = dice.choice(world.owners)
        if person.variant == owner.variant:
            return person
    return owner


def _track(message_id: str, event: str, person: Person, platform: str, at: int, **properties: Any) -> SegmentMessage:
    said = Properties(variant=person.variant, platform=platform, **properties)  # type: ignore[arg-type]
    return _message(message_id, "track", person, platform, at, event=event, properties=said)


def _message(message_id: str, kind: str, person: Person, platform: str, at: int, **content: Any) -> SegmentMessage:
    happened: datetime = moment(at)
    return SegmentMessage(
        message_id=message_id,
        type=kind,  # type: ignore[arg-type]
        user_id=person.public_id,
        timestamp=happened,
        original_timestamp=happened,
        sent_at=happened + timedelta(seconds=1),
        received_at=happened + timedelta(seconds=1),
        context=Context(library=_LIBRARIES[platform]),
        **content,
    )
