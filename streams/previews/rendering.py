"""The outbox of previews: svc-og-renderer makes the picture of each due row, as often as it takes."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass

import httpx
import orjson

from cards.data import HEIGHT, WIDTH
from clients import metrics
from clients.outbox_rows import Connection, Done, Later, Outcome, Refused
from clients.postgres import Database
from config.settings import RendererSettings
from streams.outbox.outbox import Outbox, Row, claiming
from streams.outboxes import PREVIEWS
from streams.previews.card import card_of
from streams.previews.gate import BREAKER, RendererGate

# The body of ``POST /render`` (spec, "Internal HTTP Traces — OG Renderer Service"), but for token and data.
_REQUEST = {
    "template": "wishlist-share",
    "output": {"format": "png", "width": WIDTH, "height": HEIGHT, "quality": 85},
}
_HEADERS = {"Content-Type": "application/json", "X-Circuit-Breaker": BREAKER}
# Answers about one card: the service is well, and asking again cannot help.
_ABOUT_THE_CARD = frozenset({400, 413, 422})
_LEASE_SPARE_SECONDS = 20.0


@dataclass(frozen=True, slots=True)
class Made:
    """The renderer's answer: the key of the picture's content, and its address."""

    cache_key: str
    image_url: str


class RenderOutbox(Outbox):
    """One row a share. While the breaker is open, or pictures are stopped, no row is claimed."""

    table = PREVIEWS
    claim_sql = claiming(
        PREVIEWS,
        due="state = 'due' AND due_at <= now()",
        order="(fallback = 'drawn'), due_at",
        returning="share_token, wishlist_id, attempts, failures",
    )
    idle_seconds = 0.25
    longest_pause_seconds = 60.0

    def __init__(
        self, database: Database, settings: RendererSettings, gate: RendererGate, http: httpx.AsyncClient
    ) -> None:
        self.at_once = settings.relay_renders
        self.lease_seconds = settings.longest_seconds + _LEASE_SPARE_SECONDS
        self._database = database
        self._gate = gate
        self._http = http

    async def capacity(self, rows: int) -> int:
        """See :meth:`streams.outbox.outbox.Outbox.capacity`: a permission of the breaker for each row."""
        return self._gate.acquire(rows)

    def give_back(self, rows: int) -> None:
        """See :meth:`streams.outbox.outbox.Outbox.give_back`."""
        self._gate.release(rows)

    async def handle(self, rows: Sequence[Row]) -> Sequence[Outcome]:
        """See :meth:`streams.outbox.outbox.Outbox.handle`."""
        [row] = rows
        try:
            card = await card_of(await self._database.pool(), row["id"], row["wishlist_id"])
            request = orjson.dumps({**_REQUEST, "share_token": row["share_token"], "data": card})
        except BaseException:
            self._gate.release()
            raise
        outcome = await self._call(request)
        metrics.PREVIEWS_DONE.labels(_NAMES[type(outcome)]).inc()
        return [outcome]

    async def note_done(self, connection: Connection, owner: str, done: Sequence[tuple[Row, Done]]) -> None:
        """Mark as rendered, unless the picture was requested again meanwhile: it may then be outdated."""
        await connection.execute(
            """UPDATE previews p
               SET state = CASE WHEN state = 'due' AND attempts > 0 THEN 'done' ELSE state END,
                   fallback = CASE WHEN attempts > 0 THEN 'none' ELSE fallback END, content_hash = of.content_hash,
                   image_url = of.image_url, rendered_at = now(), reason = NULL, failures = 0, traceback = NULL,
                   fallback_failures = 0, fallback_parked_at = NULL, lease_owner = NULL, lease_until = NULL
               FROM unnest($1::uuid[], $2::text[], $3::text[]) AS of(share_id, content_hash, image_url)
               WHERE p.share_id = of.share_id AND p.lease_owner = $4""",
            [row["id"] for row, _ in done],
            [outcome.result.cache_key for _, outcome in done],
            [outcome.result.image_url for _, outcome in done],
            owner,
        )

    async def _call(self, request: bytes) -> Done | Later | Refused:
        """Ask the renderer once; the breaker hears of it."""
        began = time.monotonic()
        outcome: Done | Later | Refused
        try:
            answer = await self._http.post("/render", content=request, headers=_HEADERS)
            outcome = _judge(answer)
        except Exception as error:  # a client library raises more than its own errors; none of it is about the card
            outcome = Later(f"{type(error).__name__}: {error}")
        self._gate.record(failed=isinstance(outcome, Later), seconds=time.monotonic() - began)
        return outcome


_NAMES: dict[type[Outcome], str] = {Done: "rendered", Later: "failed", Refused: "refused"}


def _judge(answer: httpx.Response) -> Done | Later | Refused:
    if answer.status_code in _ABOUT_THE_CARD:
        return Refused(f"status {answer.status_code}: {answer.text[:300]}")
    if not answer.is_success:
        return Later(f"status {answer.status_code}: {answer.text[:300]}")
    made = answer.json()
    if not isinstance(made, dict) or not all(isinstance(made.get(name), str) for name in ("cache_key", "image_url")):
        return Later(f"status {answer.status_code} without cache_key and image_url: {answer.text[:300]}")
    return Done(Made(made["cache_key"], made["image_url"]))
