"""What Google's token endpoint, FCM and APNs check of a request, as their references say. No network in here.

FCM: "projects.messages" of the FCM REST reference. APNs: "Sending notification requests to APNs" and "Handling
notification responses from APNs". Tokens: "Using OAuth 2.0 for server to server applications".
"""

from __future__ import annotations

import json
import re
import secrets
import time
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import jwt

from ops.stack.push_keys import ACCOUNT, APNS_KEY_ID, APNS_TEAM_ID, APNS_TOPIC, PROJECT

GRANT_TYPE = "urn:ietf:params:oauth:grant-type:jwt-bearer"
AUDIENCE = "https://oauth2.googleapis.com/token"
SCOPE = "https://www.googleapis.com/auth/firebase.messaging"
LARGEST_PAYLOAD = 4_096
LONGEST_TTL_SECONDS = 2_419_200
PROVIDER_TOKEN_SECONDS = 3_600
_MOST_TOKENS = 1_000
# Field masks of the REST reference: what is not in here is an unknown name.
_MESSAGE = {"name", "data", "notification", "android", "webpush", "apns", "fcm_options", "token", "topic", "condition"}
_NOTIFICATION = {"title", "body", "image"}
_ANDROID = {
    "collapse_key", "priority", "ttl", "restricted_package_name", "data", "notification", "fcm_options",
    "direct_boot_ok",
}  # fmt: skip
_ANDROID_NOTIFICATION = {
    "title", "body", "icon", "color", "sound", "tag", "click_action", "body_loc_key", "body_loc_args", "title_loc_key",
    "title_loc_args", "channel_id", "ticker", "sticky", "event_time", "local_only", "notification_priority", "image",
    "visibility", "notification_count",
}  # fmt: skip
_CODES = {
    400: "INVALID_ARGUMENT", 401: "UNAUTHENTICATED", 403: "PERMISSION_DENIED", 404: "NOT_FOUND",
    429: "RESOURCE_EXHAUSTED", 500: "INTERNAL", 503: "UNAVAILABLE",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Accepted:
    """A notification as a device would get it; *expires_at* in seconds of Unix time."""

    service: str
    token: str
    id: str
    title: str
    body: str
    collapse_id: str
    url: str
    expires_at: float


class Refused(Exception):
    """An answer that is not 200, with its body."""

    def __init__(self, status: int, body: dict[str, Any]) -> None:
        super().__init__(status, body)
        self.status = status
        self.body = body


class Grants:
    """Google's token endpoint: who signs with the account's key gets an access token."""

    def __init__(self, public_key: Any) -> None:
        self._key = public_key
        self._ends: OrderedDict[str, float] = OrderedDict()
        self.given = 0

    def give(self, form: Mapping[str, list[str]], seconds: float) -> dict[str, Any]:
        """The token for a form of the JWT bearer grant (RFC 7523)."""
        if form.get("grant_type") != [GRANT_TYPE] or len(form.get("assertion", ())) != 1:
            raise Refused(400, {"error": "unsupported_grant_type", "error_description": "Invalid grant_type"})
        try:
            claims = jwt.decode(
                form["assertion"][0],
                self._key,
                algorithms=["RS256"],
                audience=AUDIENCE,
                issuer=ACCOUNT,
                options={"require": ["iss", "aud", "exp", "iat", "scope"]},
            )
        except jwt.InvalidTokenError as error:
            raise Refused(400, {"error": "invalid_grant", "error_description": f"Invalid JWT: {error}"}) from None
        if claims["exp"] - claims["iat"] > 3_600:
            raise Refused(400, {"error": "invalid_grant", "error_description": "Invalid JWT: longer than an hour"})
        if claims["scope"].split() != [SCOPE]:
            raise Refused(400, {"error": "invalid_scope", "error_description": "Invalid OAuth scope"})
        token = f"ya29.{secrets.token_urlsafe(60)}"
        self._ends[token] = time.time() + seconds
        while len(self._ends) > _MOST_TOKENS:
            self._ends.popitem(last=False)
        self.given += 1
        return {"access_token": token, "expires_in": int(seconds), "token_type": "Bearer"}

    def revoke(self) -> None:
        """No token is good any more."""
        self._ends.clear()

    def check(self, header: str) -> None:
        """Whether *header* carries a token that is good."""
        scheme, _, token = header.partition(" ")
        if scheme != "Bearer" or self._ends.get(token, 0.0) <= time.time():
            raise fcm_error(401, message="Request had invalid authentication credentials.")


def check_fcm(headers: Mapping[str, str], project: str, content: bytes, grants: Grants) -> Accepted:
    """One ``messages:send``."""
    grants.check(headers.get("authorization", ""))
    if project != PROJECT:
        raise fcm_error(403, message="Permission denied on the project.")
    if headers.get("content-type", "").split(";")[0] != "application/json":
        raise fcm_error(400, message="The content type is not application/json.")
    try:
        request = json.loads(content)
        if not isinstance(request, dict):
            raise TypeError("Root element must be a message.")
        _only(request, {"message", "validate_only"}, "")
        message = _object(request, "message", _MESSAGE)
        notification = _object(message, "notification", _NOTIFICATION, "message")
        android = _object(message, "android", _ANDROID, "message")
        _object(android, "notification", _ANDROID_NOTIFICATION, "message.android")
        data = _object(message, "data", None, "message")
    except (ValueError, TypeError) as error:
        raise fcm_error(400, message=f"Invalid JSON payload received. {error}") from None
    for part, where in ((notification, "message.notification"), (data, "message.data[0].value")):
        if not all(isinstance(value, str) for value in part.values()):
            raise _violation(where, f"Invalid value at '{where}' (TYPE_STRING)", code="")
    for name in data:
        if name in {"from", "message_type", "collapse_key"} or name.startswith(("google", "gcm")):
            raise _violation("message.data", f"Invalid data payload key: {name}")
    ttl = re.fullmatch(r"(\d+(\.\d{1,9})?)s", android.get("ttl", f"{LONGEST_TTL_SECONDS}s"))
    if ttl is None or float(ttl[1]) > LONGEST_TTL_SECONDS:
        raise _violation("message.android.ttl", "Invalid TTL")
    if android.get("priority", "NORMAL") not in {"NORMAL", "HIGH"}:
        raise _violation("message.android.priority", "Invalid value (TYPE_ENUM)")
    token = message.get("token")
    if not isinstance(token, str) or "topic" in message or "condition" in message:
        raise _violation("message", "Recipient of the message is not set.")
    if not re.fullmatch(r"[A-Za-z0-9_:-]{32,4096}", token):
        raise _violation("message.token", "Invalid registration token")
    texts = [text for part in (notification, data) for pair in part.items() for text in pair]
    if sum(len(text.encode()) for text in texts) > LARGEST_PAYLOAD:
        raise fcm_error(400, "INVALID_ARGUMENT", "Android message is too big")
    return Accepted(
        "fcm", token, data.get("notification_id", ""), notification.get("title", ""), notification.get("body", ""),
        android.get("collapse_key", ""), data.get("url", ""), time.time() + float(ttl[1]),
    )  # fmt: skip


def fcm_error(status: int, code: str = "", message: str = "", field: str = "") -> Refused:
    """An error in Google's form; *code* is FCM's ErrorCode, *field* the one that is at fault."""
    details: list[dict[str, Any]] = []
    if code:
        details.append({"@type": "type.googleapis.com/google.firebase.fcm.v1.FcmError", "errorCode": code})
    if field:
        violations = [{"field": field, "description": message}]
        details.append({"@type": "type.googleapis.com/google.rpc.BadRequest", "fieldViolations": violations})
    error = {"code": status, "message": message or code, "status": _CODES.get(status, "UNKNOWN")}
    return Refused(status, {"error": {**error, **({"details": details} if details else {})}})


def check_apns(headers: list[tuple[str, str]], token: str, content: bytes, public_key: Any) -> Accepted:
    """One ``POST /3/device/{token}``."""
    given = dict(headers)
    if any(name.startswith("apns-") and sum(other == name for other, _ in headers) > 1 for name in given):
        raise apns_error(400, "DuplicateHeaders")
    _check_provider_token(given.get("authorization", ""), public_key)
    try:
        message_id = str(UUID(given["apns-id"])) if "apns-id" in given else ""
    except ValueError:
        raise apns_error(400, "BadMessageId") from None
    if "apns-topic" not in given:
        raise apns_error(400, "MissingTopic")
    if given["apns-topic"] != APNS_TOPIC:
        raise apns_error(400, "TopicDisallowed")
    if given.get("apns-push-type") != "alert":
        raise apns_error(400, "InvalidPushType")
    if given.get("apns-priority", "10") not in {"10", "5", "1"}:
        raise apns_error(400, "BadPriority")
    expiration = given.get("apns-expiration", "0")
    if not re.fullmatch(r"\d{1,12}", expiration):
        raise apns_error(400, "BadExpirationDate")
    collapse = given.get("apns-collapse-id", "")
    if len(collapse.encode()) > 64:
        raise apns_error(400, "BadCollapseId")
    if not re.fullmatch(r"[0-9A-Fa-f]{64}", token):
        raise apns_error(400, "BadDeviceToken")
    if len(content) > LARGEST_PAYLOAD:
        raise apns_error(413, "PayloadTooLarge")
    try:
        payload = json.loads(content)
        alert = payload["aps"]["alert"]
        title, body = alert["title"], alert["body"]
    except (ValueError, KeyError, TypeError):
        raise apns_error(400, "PayloadEmpty") from None
    if payload.get("notification_id") != message_id:
        raise apns_error(400, "BadMessageId")
    return Accepted(
        "apns", token, message_id, title, body, collapse, payload.get("url", ""), float(expiration)
    )  # fmt: skip


def apns_error(status: int, reason: str) -> Refused:
    """An error in Apple's form."""
    body: dict[str, Any] = {"reason": reason}
    if status == 410:
        body["timestamp"] = int(time.time() * 1_000)
    return Refused(status, body)


def _check_provider_token(header: str, public_key: Any) -> None:
    scheme, _, token = header.partition(" ")
    if scheme.lower() != "bearer" or not token:
        raise apns_error(403, "MissingProviderToken")
    try:
        kid = jwt.get_unverified_header(token).get("kid")
        claims = jwt.decode(
            token, public_key, algorithms=["ES256"], issuer=APNS_TEAM_ID, options={"require": ["iss", "iat"]}, leeway=5
        )
    except jwt.InvalidTokenError:
        raise apns_error(403, "InvalidProviderToken") from None
    if kid != APNS_KEY_ID:
        raise apns_error(403, "InvalidProviderToken")
    if claims["iat"] < time.time() - PROVIDER_TOKEN_SECONDS:
        raise apns_error(403, "ExpiredProviderToken")


def _object(parent: dict[str, Any], name: str, fields: set[str] | None, path: str = "") -> dict[str, Any]:
    value = parent.get(name, {})
    if not isinstance(value, dict):
        raise TypeError(f"{name} is no object")
    if fields is not None:
        _only(value, fields, f"{path}.{name}".lstrip("."))
    return value


def _only(value: dict[str, Any], fields: set[str], path: str) -> None:
    for name in value:
        if name not in fields:
            where = f" at '{path}'" if path else ""
            raise _violation(
                path, f'Invalid JSON payload received. Unknown name "{name}"{where}: Cannot find field.', code=""
            )


def _violation(field: str, description: str, code: str = "INVALID_ARGUMENT") -> Refused:
    return fcm_error(400, code, description, field)
