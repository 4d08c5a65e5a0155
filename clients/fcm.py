"""Pushes to Android by Firebase Cloud Messaging, HTTP v1, as a service account.

Sources, in Firebase's documentation: "projects.messages" and "ErrorCode" of the FCM REST reference (fields, limits,
statuses), "FCM error codes" (the forms that an error's details take) and "Best practices when sending FCM messages at
scale" (Retry-After).
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import orjson

from clients.google_tokens import AccessTokens
from clients.push_connection import PushConnection, trust, within
from clients.push_gateway import Answer, PushMessage, Verdict
from clients.push_text import encodable, fitted
from clients.retry_after import retry_after
from config.settings import FcmSettings

SCOPE = "https://www.googleapis.com/auth/firebase.messaging"
LONGEST_TTL_SECONDS = 2_419_200
_TOKEN = re.compile(r"[!-~]{1,4096}")
_DEAD_TOKEN = {"UNREGISTERED", "SENDER_ID_MISMATCH"}
# The second form of Firebase's "FCM error codes": it names no field, and only its text says that the token is meant.
_BAD_TOKEN = "registration token"


class FcmGateway:
    """FCM, as :class:`clients.push_gateway.PushGateway`. Raises :class:`ValueError` where a setting is missing."""

    def __init__(self, settings: FcmSettings, now: Callable[[], float] = time.time) -> None:
        if not settings.service_account_file:
            raise ValueError("FCM_SERVICE_ACCOUNT_FILE: is not set; FCM needs the JSON file of a service account")
        self._now = now
        self._seconds = settings.timeout_seconds
        # A context each: a connection writes into it which HTTP it speaks.
        token_trust, message_trust = (trust(settings.ca_file, "FCM_CA_FILE") for _ in range(2))
        self._tokens = AccessTokens(settings.service_account_file, SCOPE, token_trust, "FCM_SERVICE_ACCOUNT_FILE")
        self._connection = PushConnection(settings.endpoint, message_trust)

    async def send(self, message: PushMessage) -> Answer:
        """See :class:`clients.push_gateway.PushGateway`."""
        return await within(self._seconds, self._send(message))

    async def close(self) -> None:
        """See :class:`clients.push_gateway.PushGateway`."""
        await self._connection.close()
        await self._tokens.close()

    async def _send(self, message: PushMessage) -> Answer:
        if not _TOKEN.fullmatch(message.token):
            return Answer(Verdict.GONE, "not a registration token")
        content = body(message, self._now())
        if content is None:
            return Answer(Verdict.REFUSED, "the message is too large even without its text")
        token = await self._tokens.get()
        answer = await self._post(content, token)
        # Google's word that the token is bad, not that of a service behind FCM (THIRD_PARTY_AUTH_ERROR).
        if answer.status_code == 401 and _error(answer).get("status") == "UNAUTHENTICATED" and not _code(answer):
            answer = await self._post(content, await self._tokens.get(refused=token))
        return judge(answer)

    async def _post(self, content: bytes, token: str) -> httpx.Response:
        headers = {"authorization": f"Bearer {token}", "content-type": "application/json"}
        return await self._connection.post(f"/v1/projects/{self._tokens.project}/messages:send", content, headers)


def body(message: PushMessage, now: float) -> bytes | None:
    """The request, its texts cut so that notification and data fit into 4,096 bytes; None where nothing helps.

    A device that is away gets the last message of a collapse key, and keeps four keys at most; the tag makes one that
    is there replace what it shows.
    """

    def build(title: str, body: str) -> dict[str, Any]:
        return {
            "notification": {"title": title, "body": body},
            "data": {"url": encodable(message.url), "notification_id": str(message.id)},
        }

    texts = fitted(build, message.title, message.body)
    if texts is None:
        return None
    seconds = int(min(max(0.0, message.expires_at.timestamp() - now), LONGEST_TTL_SECONDS))
    android: dict[str, Any] = {"priority": "HIGH", "ttl": f"{seconds}s"}
    if message.collapse_id:
        android |= {"collapse_key": message.collapse_id, "notification": {"tag": message.collapse_id}}
    return orjson.dumps({"message": {"token": message.token, **build(*texts), "android": android}})


def judge(answer: httpx.Response) -> Answer:
    """What FCM's answer means for the message."""
    if answer.is_success:
        return Answer(Verdict.TAKEN, "")
    error, code = _error(answer), _code(answer)
    fields = [violation.get("field") for violation in _details(error, "BadRequest", "fieldViolations")]
    said = code or str(error.get("status") or f"HTTP {answer.status_code}")
    if fields:
        said = f"{said} ({', '.join(str(field) for field in fields)})"
    # Without FCM's own word a 404 is a wrong endpoint, which must not cost everybody their devices.
    if code in _DEAD_TOKEN or error.get("status") == "NOT_FOUND":
        return Answer(Verdict.GONE, said)
    if answer.status_code in {400, 413}:
        bad_token = "message.token" in fields or _BAD_TOKEN in str(error.get("message"))
        return Answer(Verdict.GONE if bad_token else Verdict.REFUSED, said)
    return Answer(Verdict.LATER, said, retry_after(answer.headers.get("retry-after")))


def _code(answer: httpx.Response) -> str:
    """FCM's own ErrorCode, or nothing where another part of Google answers."""
    return next((str(code) for code in _details(_error(answer), "FcmError", "errorCode")), "")


def _error(answer: httpx.Response) -> dict[str, Any]:
    try:
        error = orjson.loads(answer.content)["error"]
    except (ValueError, KeyError, TypeError):
        return {}
    return error if isinstance(error, dict) else {}


def _details(error: dict[str, Any], kind: str, name: str) -> Iterator[Any]:
    """The values of *name* in details of *kind*, those of lists one by one."""
    details = error.get("details")
    for detail in details if isinstance(details, list) else ():
        if isinstance(detail, dict) and str(detail.get("@type")).endswith(f".{kind}") and name in detail:
            value = detail[name]
            if isinstance(value, list):
                yield from (one for one in value if isinstance(one, dict))
            else:
                yield value
