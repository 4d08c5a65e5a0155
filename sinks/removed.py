"""Removed users: what is theirs, a sink passes by, whenever it comes (docs/erasure.md).

Every sink asks in the transaction that applies its batch. That is exact together with what an erasure does: it puts the
user on the list, waits until every transaction is over that may not have seen that, and only then looks for what is
there (:mod:`ops.erasure.job`).
"""

from __future__ import annotations

import re
from dataclasses import replace
from hashlib import sha256
from uuid import UUID

from asyncpg.pool import PoolConnectionProxy

from schemas.event import ShareEvent
from schemas.segment import SegmentMessage
from sinks.contract import Batch, DeadLetter

# What has been added by transactions that were not over when the list was last read: nothing, nearly always.
_SINCE = """
    SELECT user_id, public_id_sha256, pg_snapshot_xmin(pg_current_snapshot())::text AS seen_before
    FROM removed_users WHERE removed_in >= $1::text::xid8"""
_USER_ID = re.compile(rb'"userId"\s*:\s*"([^"\\]+)"')
_UUID = re.compile(rb"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")


class RemovedUsers:
    """The list, as one sink knows it."""

    def __init__(self) -> None:
        # As numbers, which hash in C; UUIDs do in Python.
        self._users: set[int] = set()
        self._public_ids: set[str] = set()
        # All transactions before this one were over, and seen, when the list was last read.
        self._seen_before = "0"

    async def pass_by(self, connection: PoolConnectionProxy, batch: Batch) -> tuple[Batch, int]:
        """*batch* without what is of removed users, and how much that was.

        *connection* is in the transaction that will write the batch, and has written something already.
        """
        for row in await connection.fetch(_SINCE, self._seen_before):
            self._users.add(row["user_id"].int)
            self._public_ids.add(row["public_id_sha256"])
            self._seen_before = row["seen_before"]
        if not self._users:
            return batch, 0
        kept = replace(
            batch,
            events=[event for event in batch.events if not self._is_of_removed(event)],
            placed=[placed for placed in batch.placed if not self._is_of_removed(placed.event)],
            messages=[message for message in batch.messages if not self._is_message_of_removed(message)],
            dead_letters=[letter for letter in batch.dead_letters if not self._names_removed(letter)],
        )
        return kept, _size(batch) - _size(kept)

    def _is_of_removed(self, event: ShareEvent) -> bool:
        return event.user_id.int in self._users or self._is_removed(event.recipient_user_id)

    def _is_removed(self, user: UUID | None) -> bool:
        return user is not None and user.int in self._users

    def _is_message_of_removed(self, message: SegmentMessage) -> bool:
        if self._is_removed(message.owner) or self._is_removed(message.share_owner):
            return True
        return message.user_id is not None and hashed(message.user_id) in self._public_ids

    def _names_removed(self, letter: DeadLetter) -> bool:
        """Whether the bytes of a record that may be no event name one of them."""
        value = letter.value or b""
        return any(UUID(found.decode()).int in self._users for found in _UUID.findall(value)) or any(
            hashed(found.decode("utf-8", "replace")) in self._public_ids for found in _USER_ID.findall(value)
        )


def hashed(public_id: str) -> str:
    """A public id as the list has it."""
    return sha256(public_id.encode()).hexdigest()


def _size(batch: Batch) -> int:
    return len(batch.events) + len(batch.placed) + len(batch.messages) + len(batch.dead_letters)
