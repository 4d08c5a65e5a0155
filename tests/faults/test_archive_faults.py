"""The archive, what no event is among its records: put aside, and the rest archived and accounted for.

Kills, joins and freezes are ``test_whole_house.py``'s.
"""

from __future__ import annotations

from clients.objects import ObjectStore
from config.settings import ObjectStoreSettings
from sinks.archive import GROUP
from tests.every_sink import archived, ids_of
from tests.lab import Lab, story


async def test_a_record_that_is_no_event_is_put_aside_and_accounted_for(lab: Lab) -> None:
    prefix = f"archive/{lab.kafka.events_topic.split('.')[0]}/"
    lab.env |= {"ARCHIVE_BATCH_SECONDS": "0.3", "ARCHIVE_PREFIX": prefix}
    group = GROUP + lab.env["STREAM_GROUP_SUFFIX"]
    store = ObjectStore(ObjectStoreSettings())
    events = story(200)
    lab.produce_events(events[:100])
    lab.produce([(events[0].share_token, b"nonsense")])
    lab.produce_events(events[100:])
    lab.start("archive")
    [(headers, value)] = lab.dead_letters(1)
    assert value == b"nonsense"
    assert headers["group"] == group
    await lab.applied(group)
    found = await archived(lab, store, group)
    assert ids_of(found) == ids_of(events)
    assert {event.event_id: event for event in found} == {event.event_id: event for event in events}
    async for stored in store.listing(prefix):
        await store.delete(stored.key)
