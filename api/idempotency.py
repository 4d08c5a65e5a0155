"""``Idempotency-Key``: a retried request is the same act.

What an act will use (its share token, event id and time) is decided and kept *before* anything happens. A retry finds
that plan and does the same again: the same event id, which every consumer counts once. So a retry is safe also where
the first try died half-way, and two tries at once are one act.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import cast
from uuid import UUID

import orjson
from fastapi import Request
from redis.asyncio import Redis

from api.errors import ApiError, invalid
from api.redis_gate import RedisGate
from clients.faults import Unavailable
from schemas.ids import new_share_token, uuid7

DAY_SECONDS = 86_400
_KEY = re.compile(r"[\x21-\x7e]{1,255}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What an act uses; ``answer`` is the body it has been answered with, once it has.

    *is_new*: this request made it.
    """

    fingerprint: str
    token: str
    event_id: UUID
    at: datetime
    answer: bytes | None = None
    is_new: bool = field(default=False, compare=False)

    @classmethod
    def new(cls, fingerprint: str = "") -> Plan:
        """A plan for now."""
        return cls(
            fingerprint=fingerprint, token=new_share_token(), event_id=uuid7(), at=datetime.now(UTC), is_new=True
        )


def fingerprint_of(*parts: str | bytes) -> str:
    """A short name for what was asked, to notice a key that is used for something else."""
    digest = hashlib.sha256()
    for part in parts:
        digest.update(part.encode() if isinstance(part, str) else part)
        digest.update(b"\0")
    return digest.hexdigest()


def key_of(request: Request) -> str | None:
    """The request's Idempotency-Key; raises 422 for one that is no such key."""
    key = request.headers.get("idempotency-key")
    if key is not None and not _KEY.fullmatch(key):
        raise invalid("Idempotency-Key", "is not 1 to 255 visible ASCII characters", "Send a UUID, for example")
    return key


class Plans:
    """Plans in Redis, for a day. Without Redis every request is an act of its own."""

    def __init__(self, gate: RedisGate) -> None:
        self._gate = gate

    async def plan(self, user: str, key: str | None, fingerprint: str) -> Plan:
        """The plan under *key*, made where there is none; raises 422 where the key stands for another request."""
        plan = Plan.new(fingerprint)
        if key is None:
            return plan
        name = _name(user, key)

        async def run(redis: Redis) -> bytes | None:
            kept = await redis.set(name, _dump(plan), ex=DAY_SECONDS, nx=True, get=True)
            return cast("bytes | None", kept)

        try:
            kept = await self._gate.call(run)
        except Unavailable:
            return plan
        found = plan if kept is None else _load(kept)
        if found.fingerprint != fingerprint:
            raise ApiError(
                422,
                "IDEMPOTENCY_KEY_REUSED",
                "This Idempotency-Key was used for another request. Send a new key with a new request.",
            )
        return found

    async def answered(self, user: str, key: str | None, plan: Plan, answer: bytes) -> None:
        """Keep the body that *plan* was answered with."""
        if key is None:
            return
        done = Plan(fingerprint=plan.fingerprint, token=plan.token, event_id=plan.event_id, at=plan.at, answer=answer)
        try:
            await self._gate.call(lambda redis: redis.set(_name(user, key), _dump(done), ex=DAY_SECONDS))
        except Unavailable:
            return

    async def refused(self, user: str, key: str | None, plan: Plan) -> None:
        """Forget a new *plan* whose request is refused for its body: the key may be used with a corrected one."""
        if key is None or not plan.is_new:
            return
        try:
            await self._gate.call(lambda redis: redis.delete(_name(user, key)))
        except Unavailable:
            return


def _name(user: str, key: str) -> str:
    return f"idempotency:{fingerprint_of(user, key)}"


def _dump(plan: Plan) -> bytes:
    value: Mapping[str, object] = {
        "fingerprint": plan.fingerprint,
        "token": plan.token,
        "event_id": plan.event_id,
        "at": plan.at,
        "answer": plan.answer.decode() if plan.answer else None,
    }
    return orjson.dumps(value)


def _load(raw: bytes) -> Plan:
    value = orjson.loads(raw)
    return Plan(
        fingerprint=value["fingerprint"],
        token=value["token"],
        event_id=UUID(value["event_id"]),
        at=datetime.fromisoformat(value["at"]),
        answer=value["answer"].encode() if value["answer"] else None,
    )
