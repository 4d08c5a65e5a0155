"""``/healthz``, ``/readyz`` and ``/metrics``."""

from __future__ import annotations

import asyncio
import time

import orjson
from fastapi import APIRouter
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from redis.asyncio import Redis
from starlette.responses import PlainTextResponse, Response

from api import openapi
from api.errors import JSON
from api.services import Api, Services
from clients import metrics
from clients.faults import Unavailable

router = APIRouter()

_PROBE_SECONDS = 1.0
_MEMORY_EVERY_SECONDS = 15.0
_memory_due = 0.0


@router.get("/healthz", response_model=openapi.Health, responses=openapi.errors())
async def alive(api: Api) -> Response:
    """200 while the process serves requests; a background job that fails is named, and changes no status."""
    return Response(orjson.dumps({"status": "ok", "failing_jobs": api.board.failing}), media_type=JSON)


@router.get("/readyz", response_model=openapi.Health, responses={503: {"model": openapi.Health}})
async def ready(api: Api) -> Response:
    """200 while shares can be made and read in full; 503 without PostgreSQL. Redis is help, not need."""
    postgres, redis = await asyncio.gather(_postgres_answers(api), _redis_answers(api))
    body = {
        "status": "ready" if postgres else "degraded",
        "postgres": "ok" if postgres else "away",
        "redis": "ok" if redis else "away",
    }
    return Response(orjson.dumps(body), 200 if postgres else 503, media_type=JSON)


@router.get("/metrics", response_class=PlainTextResponse, responses=openapi.errors())
async def figures(api: Api) -> Response:
    """Prometheus text format."""
    await _measure_memory(api)
    return Response(generate_latest(), media_type=CONTENT_TYPE_LATEST)


async def _postgres_answers(api: Services) -> bool:
    try:
        async with asyncio.timeout(_PROBE_SECONDS):
            return bool(await api.db.value("SELECT TRUE"))
    except Unavailable:
        return False


async def _redis_answers(api: Services) -> bool:
    async def ping(redis: Redis) -> bool:
        return bool(await redis.ping())

    try:
        return await api.gate.call(ping, insist=True)
    except Unavailable:
        return False


async def _measure_memory(api: Services) -> None:
    global _memory_due
    if time.monotonic() < _memory_due:
        return
    _memory_due = time.monotonic() + _MEMORY_EVERY_SECONDS

    async def used(redis: Redis) -> int:
        return int((await redis.info("memory"))["used_memory"])

    try:
        metrics.RATE_LIMIT_MEMORY.set(await api.gate.call(used))
    except Unavailable:
        return
