"""The push services' stand-ins refuse what the real ones refuse, in their words."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from clients import apns, fcm
from clients.push_gateway import PushMessage
from ops.stack import push_keys
from ops.stack.push_checks import AUDIENCE, GRANT_TYPE, SCOPE, Accepted, Grants, Refused, check_apns, check_fcm

APPLE_KEY = ec.generate_private_key(ec.SECP256R1())
GOOGLE_KEY = rsa.generate_private_key(public_exponent=65537, key_size=2048)
MESSAGE = PushMessage(
    id=UUID(int=7),
    token="ab" * 32,
    title="Holiday Gift Ideas",
    body="Ada added a lamp",
    collapse_id="share-7",
    url="https://vantage.com/w/abc",
    expires_at=datetime.now(UTC) + timedelta(hours=1),
)


def reason_of(check: Callable[[], Any]) -> tuple[int, Any]:
    """Status and word of a refusal."""
    with pytest.raises(Refused) as refused:
        check()
    body = refused.value.body
    return refused.value.status, body.get("reason") or body["error"]


# --- Google's token endpoint -------------------------------------------------------------------------------------


def assertion(key: Any = GOOGLE_KEY, **changes: Any) -> str:
    now = int(time.time())
    claims = {"iss": push_keys.ACCOUNT, "aud": AUDIENCE, "scope": SCOPE, "iat": now, "exp": now + 3_600}
    claims = {name: value for name, value in (claims | changes).items() if value is not None}
    return jwt.encode(claims, key, algorithm="RS256")


def grant(grants: Grants, token: str) -> dict[str, Any]:
    return grants.give({"grant_type": [GRANT_TYPE], "assertion": [token]}, 3_600)


@pytest.fixture
def grants() -> Grants:
    return Grants(GOOGLE_KEY.public_key())


def test_who_signs_with_the_accounts_key_gets_a_token(grants: Grants) -> None:
    answer = grant(grants, assertion())
    assert answer["expires_in"] == 3_600
    grants.check(f"Bearer {answer['access_token']}")
    grants.revoke()
    with pytest.raises(Refused):
        grants.check(f"Bearer {answer['access_token']}")


@pytest.mark.parametrize(
    "changes",
    [{"iss": "mallory@example.com"}, {"aud": "https://example.com"}, {"iat": None}, {"exp": None}, {"scope": None},
     {"exp": int(time.time()) - 60}, {"iat": int(time.time()) + 600}, {"exp": int(time.time()) + 7_200},
     {"scope": "https://www.googleapis.com/auth/drive"},
     {"key": rsa.generate_private_key(public_exponent=65537, key_size=2048)}],
)  # fmt: skip
def test_a_bad_assertion_gets_none(grants: Grants, changes: dict[str, Any]) -> None:
    status, error = reason_of(lambda: grant(grants, assertion(**changes)))
    assert (status, error) == (400, "invalid_scope" if "drive" in str(changes) else "invalid_grant")


# --- FCM ---------------------------------------------------------------------------------------------------------


def check_message(grants: Grants, request: Any, project: str = push_keys.PROJECT, **headers: str) -> Accepted:
    token = grant(grants, assertion())["access_token"]
    given = {"authorization": f"Bearer {token}", "content-type": "application/json", **headers}
    content = request if isinstance(request, bytes) else json.dumps(request).encode()
    return check_fcm(given, project, content, grants)


def message(**changes: Any) -> dict[str, Any]:
    content = fcm.body(MESSAGE, time.time())
    assert content is not None
    return {"message": json.loads(content)["message"] | changes}


def test_fcm_takes_a_good_message(grants: Grants) -> None:
    accepted = check_message(grants, message())
    assert (accepted.id, accepted.title, accepted.collapse_id) == (str(MESSAGE.id), MESSAGE.title, "share-7")


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"colour": "red"}, "message"),
        ({"notification": {"title": "a", "subtitle": "b"}}, "message.notification"),
        ({"notification": {"title": 7}}, "message.notification"),
        ({"android": {"time_to_live": "5s"}}, "message.android"),
        ({"android": {"notification": {"label": "x"}}}, "message.android.notification"),
        ({"android": {"ttl": "5"}}, "message.android.ttl"),
        ({"android": {"ttl": "2419201s"}}, "message.android.ttl"),
        ({"android": {"priority": "URGENT"}}, "message.android.priority"),
        ({"data": {"count": 7}}, "message.data[0].value"),
        ({"data": {"google.x": "7"}}, "message.data"),
        ({"token": "abc"}, "message.token"),
        ({"topic": "everybody"}, "message"),
    ],
)
def test_fcm_names_the_field_at_fault(grants: Grants, changes: dict[str, Any], field: str) -> None:
    status, error = reason_of(lambda: check_message(grants, message(**changes)))
    assert (status, error["status"]) == (400, "INVALID_ARGUMENT")
    assert error["details"][-1]["fieldViolations"][0]["field"] == field


@pytest.mark.parametrize("request_body", [b"", b"[]", b"7", b'{"message": []}', b'{"message": {"data": []}}', b"\xff"])
def test_fcm_refuses_what_is_no_message(grants: Grants, request_body: bytes) -> None:
    assert reason_of(lambda: check_message(grants, request_body))[0] == 400


def test_fcm_knows_its_limits_its_project_and_its_callers(grants: Grants) -> None:
    large = message(notification={"title": "", "body": "愿" * 1_400})
    assert reason_of(lambda: check_message(grants, large))[1]["message"] == "Android message is too big"
    assert reason_of(lambda: check_message(grants, message(), project="another"))[0] == 403
    for header in ("", "Bearer ya29.made-up", "Basic abc"):
        status, error = reason_of(lambda header=header: check_message(grants, message(), authorization=header))
        assert (status, error["status"]) == (401, "UNAUTHENTICATED")


# --- APNs --------------------------------------------------------------------------------------------------------


def provider_token(key: Any = APPLE_KEY, kid: str = push_keys.APNS_KEY_ID, **changes: Any) -> str:
    claims = {"iss": push_keys.APNS_TEAM_ID, "iat": int(time.time()), **changes}
    claims = {name: value for name, value in claims.items() if value is not None}
    return jwt.encode(claims, key, algorithm="ES256", headers={"kid": kid})


def check_push(content: bytes | None = None, token: str = MESSAGE.token, **changes: str | None) -> Accepted:
    headers = {
        "authorization": f"bearer {provider_token()}",
        "apns-id": str(MESSAGE.id),
        "apns-topic": push_keys.APNS_TOPIC,
        "apns-push-type": "alert",
        "apns-priority": "10",
        "apns-expiration": "1764000000",
        "apns-collapse-id": "share-7",
    }
    for name, value in changes.items():
        headers[name.replace("_", "-")] = value or ""
        if value is None:
            del headers[name.replace("_", "-")]
    content = apns.payload(MESSAGE) if content is None else content
    assert content is not None
    return check_apns(list(headers.items()), token, content, APPLE_KEY.public_key())


def test_apns_takes_a_good_notification() -> None:
    accepted = check_push()
    assert (accepted.id, accepted.body, accepted.expires_at) == (str(MESSAGE.id), MESSAGE.body, 1_764_000_000)


@pytest.mark.parametrize(
    ("changes", "status", "reason"),
    [
        ({"authorization": None}, 403, "MissingProviderToken"),
        ({"authorization": "bearer abc"}, 403, "InvalidProviderToken"),
        ({"authorization": f"bearer {provider_token(kid='ANOTHERKEY')}"}, 403, "InvalidProviderToken"),
        ({"authorization": f"bearer {provider_token(iss='ANOTHER')}"}, 403, "InvalidProviderToken"),
        ({"authorization": f"bearer {provider_token(iat=None)}"}, 403, "InvalidProviderToken"),
        ({"authorization": f"bearer {provider_token(iat=int(time.time()) + 600)}"}, 403, "InvalidProviderToken"),
        ({"authorization": f"bearer {provider_token(iat=int(time.time()) - 3_700)}"}, 403, "ExpiredProviderToken"),
        (
            {"authorization": f"bearer {provider_token(ec.generate_private_key(ec.SECP256R1()))}"},
            403,
            "InvalidProviderToken",
        ),
        ({"apns_id": "7"}, 400, "BadMessageId"),
        ({"apns_topic": None}, 400, "MissingTopic"),
        ({"apns_topic": "com.example"}, 400, "TopicDisallowed"),
        ({"apns_push_type": None}, 400, "InvalidPushType"),
        ({"apns_push_type": "voip"}, 400, "InvalidPushType"),
        ({"apns_priority": "9"}, 400, "BadPriority"),
        ({"apns_expiration": "tomorrow"}, 400, "BadExpirationDate"),
        ({"apns_collapse_id": "x" * 65}, 400, "BadCollapseId"),
        ({"token": "ab" * 31}, 400, "BadDeviceToken"),
        ({"token": "xy" * 32}, 400, "BadDeviceToken"),
        ({"content": b""}, 400, "PayloadEmpty"),
        ({"content": b"{}"}, 400, "PayloadEmpty"),
        ({"content": b"x" * 4_097}, 413, "PayloadTooLarge"),
    ],
)
def test_apns_says_what_is_wrong(changes: dict[str, Any], status: int, reason: str) -> None:
    assert reason_of(lambda: check_push(**changes)) == (status, reason)


def test_apns_takes_no_header_twice() -> None:
    headers = [("authorization", f"bearer {provider_token()}"), *[("apns-topic", push_keys.APNS_TOPIC)] * 2]
    assert reason_of(lambda: check_apns(headers, MESSAGE.token, b"{}", APPLE_KEY.public_key())) == (
        400,
        "DuplicateHeaders",
    )


# --- Keys --------------------------------------------------------------------------------------------------------


def test_keys_are_made_once_and_the_account_follows_the_port(tmp_path: Path) -> None:
    def written() -> dict[str, bytes]:
        return {path.name: path.read_bytes() for path in tmp_path.iterdir()}

    push_keys.make(tmp_path, 1_000)
    before = written()
    push_keys.make(tmp_path, 2_000)
    after = written()
    first, second = (json.loads(files.pop("service-account.json")) for files in (before, after))
    assert before == after
    assert second == first | {"token_uri": "https://127.0.0.1:2000/token"}
    assert load_pem_private_key((tmp_path / "apns.p8").read_bytes(), None)
    secrets = {path.name for path in tmp_path.iterdir() if path.stat().st_mode & 0o077 == 0}
    assert secrets == {"apns.p8", "server.key", "service-account.json"}
