"""The outbox of pictures to be removed from the bucket: withdrawn, swept, or of a deleted list."""

from __future__ import annotations

from collections.abc import Sequence

from clients.objects import ObjectStore, content_key, preview_key
from clients.outbox_rows import Connection, Done, Outcome
from streams.outbox.outbox import Outbox, Row, claiming
from streams.outboxes import PICTURE_REMOVALS


class PurgeOutbox(Outbox):
    """The lease is rendering's own: a share that is being rendered waits, because its picture would come after the
    removal, and none is rendered meanwhile, because the removal would take the new picture away.
    """

    table = PICTURE_REMOVALS
    claim_sql = claiming(
        PICTURE_REMOVALS,
        due=PICTURE_REMOVALS.pending,
        order="share_id",
        returning="""share_token, content_hash, purge_failures AS failures, purge_failures AS attempts,
                  NOT EXISTS (SELECT FROM wishlists w WHERE w.id = wishlist_id) AS is_gone""",
        sets=None,
    )
    at_once = 10
    longest_pause_seconds = 60.0

    def __init__(self, store: ObjectStore) -> None:
        self._store = store

    async def handle(self, rows: Sequence[Row]) -> Sequence[Outcome]:
        """See :meth:`streams.outbox.outbox.Outbox.handle`."""
        [row] = rows
        await self._store.delete(preview_key(row["share_token"]))
        if row["is_gone"] and row["content_hash"] is not None:
            await self._store.delete(content_key(row["content_hash"]))
        return [Done()]

    async def note_done(self, connection: Connection, owner: str, done: Sequence[tuple[Row, Done]]) -> None:
        """A deleted list sends no more events, so its row need not stay to block a new picture."""
        await connection.execute(
            "DELETE FROM previews WHERE share_id = ANY($1::uuid[]) AND lease_owner = $2",
            [row["id"] for row, _ in done if row["is_gone"]],
            owner,
        )
        await connection.execute(
            """UPDATE previews SET purged_at = now(), purge_failures = 0, purge_reason = NULL, purge_traceback = NULL,
                      lease_owner = NULL, lease_until = NULL
               WHERE share_id = ANY($1::uuid[]) AND lease_owner = $2""",
            [row["id"] for row, _ in done if not row["is_gone"]],
            owner,
        )
