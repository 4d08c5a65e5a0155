"""A plan's acts as share events, as the API would say them."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from uuid import UUID

from ops.simulation.plan import Act, Plan, Story, moment
from schemas.event import EventType, ShareEvent
from schemas.ids import (
    expiry_event_id,
    first_wishlist_id_for,
    item_id_for,
    share_id_for,
    uuid7_at,
    view_event_id,
)

_DAY = 86_400_000


def events_of(plan: Plan) -> Iterator[ShareEvent]:
    """Every event of *plan*, in the order of time. Ids come from the plan's name and the act's place in it."""
    share_ids = [share_id_for(story.token) for story in plan.stories]
    for story, place, act in plan.in_time():
        yield _event(plan.name, story, share_ids[story.number], place, act)


def _event(name: str, story: Story, share_id: UUID, place: int, act: Act) -> ShareEvent:
    seed = f"{name}:{story.number}:{place}"
    visitor = act.visitor
    kind = act.kind
    page_view_id = visitor_hash = None
    if kind is EventType.VIEWED:
        page_view_id = uuid7_at(act.at, f"{seed}:page".encode())
        event_id = view_event_id(story.token, page_view_id, act.at)
        day = f"{name}:{visitor.key}:{act.at // _DAY}"
        visitor_hash = hashlib.sha256(day.encode()).hexdigest()[:32]
    elif kind is EventType.EXPIRED:
        event_id = expiry_event_id(share_id, moment(act.at))
    else:
        event_id = uuid7_at(act.at, seed.encode())
    recipient = recipient_list = item_id = None
    if kind is EventType.ITEM_ADDED and visitor.person is not None and act.item is not None:
        recipient = visitor.person.id
        own = visitor.person.wishlist
        recipient_list = own.id if own else first_wishlist_id_for(recipient)
        item_id = item_id_for(recipient_list, act.item.product_id, share_id)
    elif kind is EventType.SETTINGS_CHANGED and act.item is not None:
        item_id = act.item.id
    names_products = kind in {EventType.CREATED, EventType.SETTINGS_CHANGED}
    return ShareEvent(
        event_type=kind,
        wishlist_id=story.wishlist.id,
        user_id=story.owner.id,
        share_token=story.token,
        share_channel=story.channel,
        item_count=len(act.visible),
        timestamp=moment(act.at),
        event_id=event_id,
        share_id=share_id,
        recipient_user_id=recipient,
        user_agent=visitor.user_agent,
        referrer=visitor.referrer,
        country=visitor.country,
        expires_at=None if act.expires_at is None else moment(act.expires_at),
        hidden_item_ids=tuple([item.id for item in story.hidden]) if kind is EventType.CREATED else (),
        product_ids=tuple([item.product_id for item in act.visible]) if names_products else (),
        product_id=act.item.product_id if kind is EventType.ITEM_ADDED and act.item else None,
        wishlist_item_id=item_id,
        recipient_wishlist_id=recipient_list,
        created_wishlist=act.makes_list,
        item_visible=act.shown,
        page_view_id=page_view_id,
        platform=visitor.platform,
        variant=visitor.variant or story.owner.variant,
        is_bot=visitor.is_bot,
        visitor_hash=visitor_hash,
        is_authenticated=visitor.person is not None if kind is EventType.VIEWED else None,
    )
