"""The bucket and the notification hub's queue."""

from __future__ import annotations

from collections.abc import Iterable

from clients.faults import Unavailable
from clients.objects import ObjectStore
from clients.queue import NotificationQueue
from config.settings import ObjectStoreSettings, QueueSettings, load
from ops.doctor.finding import Check, Finding, Symptom, well
from ops.doctor.surroundings import Away, Surroundings

BUCKET_AWAY = Symptom(
    name="bucket-away",
    says="the bucket does not answer",
    users="Shares show the generic picture, and new pictures wait as rows. The archive waits, analysts see no "
    "dashboard.",
    do="check R2_ENDPOINT_URL and its keys, and Cloudflare's status; ./run up starts one",
    over="The checks bucket, renderer and previews are well.",
    broken=True,
    alerts=("og-renderer-error-rate", "wishlist-group-waiting"),
)
BUCKET_MISSING = Symptom(
    name="bucket-missing",
    says="there is no such bucket",
    users="As when it does not answer.",
    do="check R2_BUCKET; to make it: wishlist migrate",
    over="The check bucket is well.",
    broken=True,
)
QUEUE_AWAY = Symptom(
    name="queue-away",
    says="the notification hub's queue does not answer",
    users="Digests wait in the outbox, and go out late.",
    do="check SQS_ENDPOINT_URL and SQS_QUEUE; to make the queue: wishlist migrate; ./run up starts an emulator",
    over="The checks queue and digests are well.",
)


async def _bucket(around: Surroundings) -> Iterable[Finding]:
    store = ObjectStore(load(ObjectStoreSettings))
    try:
        there = await store.is_there()
    except Unavailable as error:
        raise Away("the bucket", error) from error
    return [well(f"{store.bucket} answers") if there else BUCKET_MISSING.found(store.bucket)]


async def _queue(around: Surroundings) -> Iterable[Finding]:
    queue = NotificationQueue(load(QueueSettings))
    try:
        waiting = await queue.length()
    except Unavailable as error:
        raise Away("the queue", error) from error
    return [well(f"{queue.settings.queue} answers, the hub has yet to take about {waiting:,}")]


CHECKS = (
    Check(
        name="bucket",
        at="whether the bucket is there",
        look=_bucket,
        away=BUCKET_AWAY,
        symptoms=(BUCKET_MISSING,),
    ),
    Check(
        name="queue",
        at="whether the notification hub's queue is there, and how many messages lie in it",
        look=_queue,
        away=QUEUE_AWAY,
    ),
)
