"""Pushes to Apple's devices, by APNs' HTTP/2 interface with a provider token.

Sources, in Apple's documentation under "User Notifications": "Sending notification requests to APNs" (headers, sizes),
"Handling notification responses from APNs" (statuses and reasons) and "Establishing a token-based connection to APNs"
(ES256; a token is good for an hour and must not be renewed more often than every 20 minutes).
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import jwt
import orjson
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, EllipticCurvePrivateKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from clients.push_connection import PushConnection, trust, within
from clients.push_gateway import Answer, PushMessage, Verdict
from clients.push_text import encodable, fitted
from clients.retry_after import retry_after
from config.settings import ApnsSettings

RENEW_AFTER_SECONDS = 40 * 60
RENEW_AT_MOST_EVERY_SECONDS = 20 * 60
EXPIRED = "ExpiredProviderToken"
# Apple gives no length. It stands in the path, where what is no token could harm its neighbours on the connection.
_TOKEN = re.compile("[0-9A-Fa-f]{1,512}")
_DEAD_TOKEN = {"BadDeviceToken", "DeviceTokenNotForTopic", "Unregistered", "ExpiredToken"}
# Wrong for every message until somebody corrects the settings: no reason to throw this one away.
_SETTINGS_ARE_WRONG = {"BadTopic", "MissingTopic", "TopicDisallowed"}


class ApnsGateway:
    """APNs, as :class:`clients.push_gateway.PushGateway`. Raises :class:`ValueError` where a setting is missing."""

    def __init__(self, settings: ApnsSettings, now: Callable[[], float] = time.time) -> None:
        self._now = now
        self._seconds = settings.timeout_seconds
        self._topic = _required(settings.topic, "APNS_TOPIC", "the app's bundle id")
        self._tokens = ProviderTokens(
            _private_key(_required(settings.key_file, "APNS_KEY_FILE", "the .p8 file of the key from Apple")),
            _required(settings.key_id, "APNS_KEY_ID", "the id of that key"),
            _required(settings.team_id, "APNS_TEAM_ID", "the team's id"),
            now,
        )
        self._connection = PushConnection(settings.endpoint, trust(settings.ca_file, "APNS_CA_FILE"))

    async def send(self, message: PushMessage) -> Answer:
        """See :class:`clients.push_gateway.PushGateway`."""
        return await within(self._seconds, self._send(message))

    async def close(self) -> None:
        """See :class:`clients.push_gateway.PushGateway`."""
        await self._connection.close()

    async def _send(self, message: PushMessage) -> Answer:
        if not _TOKEN.fullmatch(message.token):
            return Answer(Verdict.GONE, "not a device token")
        content = payload(message)
        if content is None:
            return Answer(Verdict.REFUSED, "the payload is too large even without its text")
        token = self._tokens.current()
        answer = await self._post(message, content, token)
        if _reason(answer) == EXPIRED and (renewed := self._tokens.instead_of(token)):
            answer = await self._post(message, content, renewed)
        return judge(answer)

    async def _post(self, message: PushMessage, content: bytes, token: str) -> httpx.Response:
        expires = int(message.expires_at.timestamp())
        headers = {
            "authorization": f"bearer {token}",
            "apns-id": str(message.id),
            "apns-topic": self._topic,
            "apns-push-type": "alert",
            "apns-priority": "10",
            # 0: now or never.
            "apns-expiration": str(expires if expires > self._now() else 0),
        }
        if message.collapse_id:
            headers["apns-collapse-id"] = message.collapse_id
        return await self._connection.post(f"/3/device/{message.token}", content, headers)


class ProviderTokens:
    """The token by which the provider proves who it is: an ES256 JWT, made anew after 40 minutes."""

    def __init__(self, key: EllipticCurvePrivateKey, key_id: str, team_id: str, now: Callable[[], float]) -> None:
        self._key = key
        self._key_id = key_id
        self._team_id = team_id
        self._now = now
        self._token = ""
        self._made_at = 0.0

    def current(self) -> str:
        """A token that is good for 20 minutes at least."""
        # Less than none is a clock that was set back.
        if not self._token or not 0 <= self._age < RENEW_AFTER_SECONDS:
            self._make()
        return self._token

    def instead_of(self, refused: str) -> str | None:
        """A token made after *refused*, which Apple called expired; None where another cannot help.

        A token younger than 20 minutes that counts as expired means that this machine's clock is wrong; tokens
        made faster than that are refused as too many.
        """
        if self._token == refused:
            if self._age < RENEW_AT_MOST_EVERY_SECONDS:
                return None
            self._make()
        return self._token

    @property
    def _age(self) -> float:
        return self._now() - self._made_at

    def _make(self) -> None:
        self._made_at = self._now()
        claims = {"iss": self._team_id, "iat": int(self._made_at)}
        self._token = jwt.encode(claims, self._key, algorithm="ES256", headers={"kid": self._key_id})


def payload(message: PushMessage) -> bytes | None:
    """The notification as APNs takes it, its texts cut to fit; None where nothing helps."""

    def build(title: str, body: str) -> dict[str, Any]:
        return {
            "aps": {"alert": {"title": title, "body": body}, "sound": "default"},
            "url": encodable(message.url),
            "notification_id": str(message.id),
        }

    texts = fitted(build, message.title, message.body)
    return None if texts is None else orjson.dumps(build(*texts))


def judge(answer: httpx.Response) -> Answer:
    """What APNs' answer means for the message."""
    reason = _reason(answer)
    said = reason or f"HTTP {answer.status_code}"
    if answer.status_code == 200:
        return Answer(Verdict.TAKEN, "")
    if answer.status_code == 410 or reason in _DEAD_TOKEN:
        return Answer(Verdict.GONE, said)
    if answer.status_code == 413 or (answer.status_code == 400 and reason not in _SETTINGS_ARE_WRONG):
        return Answer(Verdict.REFUSED, said)
    return Answer(Verdict.LATER, said, retry_after(answer.headers.get("retry-after")))


def _reason(answer: httpx.Response) -> str:
    try:
        reason = orjson.loads(answer.content)["reason"]
    except (ValueError, KeyError, TypeError):
        return ""
    return reason if isinstance(reason, str) else ""


def _required(value: str | None, setting: str, what: str) -> str:
    if not value:
        raise ValueError(f"{setting}: is not set; APNs needs {what}")
    return value


def _private_key(path: str) -> EllipticCurvePrivateKey:
    try:
        key = load_pem_private_key(Path(path).read_bytes(), password=None)
    except (OSError, ValueError, TypeError) as error:
        raise ValueError(f"APNS_KEY_FILE: {path} cannot be read as Apple's .p8 file ({error})") from error
    if not isinstance(key, EllipticCurvePrivateKey) or not isinstance(key.curve, SECP256R1):
        raise ValueError(f"APNS_KEY_FILE: {path} holds another kind of key; APNs needs an EC key on the curve P-256")
    return key
