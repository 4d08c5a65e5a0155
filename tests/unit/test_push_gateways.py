"""Both gateways without their services: what is sent, what odd answers mean, and when tokens are renewed."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path
from typing import Any
from uuid import UUID

import httpx
import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from clients import apns, fcm
from clients.apns import ApnsGateway, ProviderTokens
from clients.fcm import FcmGateway
from clients.push_gateway import Answer, PushMessage, Verdict
from clients.retry_after import retry_after
from config.settings import ApnsSettings, FcmSettings
from ops.stack import push_keys

NOW = 1_764_000_000
MESSAGE = PushMessage(
    id=UUID(int=7),
    token="ab" * 32,
    title="Holiday Gift Ideas",
    body="Ada added a lamp",
    collapse_id="share-7",
    url="https://vantage.com/w/abc",
    expires_at=datetime.fromtimestamp(NOW + 90, UTC),
)


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("push")
    push_keys.make(folder, 1)
    return folder


@pytest.fixture
def apns_settings(keys: Path) -> dict[str, Any]:
    return {"key_file": str(keys / "apns.p8"), "key_id": "K", "team_id": "T", "topic": "com.vantage.shop"}


# --- What is sent ----------------------------------------------------------------------------------------------


def test_what_apns_gets() -> None:
    content = apns.payload(MESSAGE)
    assert content is not None
    assert json.loads(content) == {
        "aps": {"alert": {"title": MESSAGE.title, "body": MESSAGE.body}, "sound": "default"},
        "url": MESSAGE.url,
        "notification_id": str(MESSAGE.id),
    }


def test_what_fcm_gets() -> None:
    content = fcm.body(MESSAGE, NOW)
    assert content is not None
    assert json.loads(content)["message"] == {
        "token": MESSAGE.token,
        "notification": {"title": MESSAGE.title, "body": MESSAGE.body},
        "data": {"url": MESSAGE.url, "notification_id": str(MESSAGE.id)},
        "android": {
            "priority": "HIGH", "ttl": "90s", "collapse_key": "share-7", "notification": {"tag": "share-7"},
        },
    }  # fmt: skip


@pytest.mark.parametrize(
    ("until", "ttl"), [(timedelta(days=-1), "0s"), (timedelta(seconds=1.9), "1s"), (timedelta(days=90), "2419200s")]
)
def test_fcm_is_told_a_time_that_it_takes(until: timedelta, ttl: str) -> None:
    content = fcm.body(replace(MESSAGE, expires_at=datetime.fromtimestamp(NOW, UTC) + until), NOW)
    assert content is not None
    assert json.loads(content)["message"]["android"]["ttl"] == ttl


async def test_a_message_that_no_cutting_helps_is_refused(keys: Path, apns_settings: dict[str, Any]) -> None:
    message = replace(MESSAGE, url="https://vantage.com/" + "w" * 5_000)
    for gateway in (
        FcmGateway(FcmSettings(service_account_file=str(keys / "service-account.json"))),
        ApnsGateway(ApnsSettings(**apns_settings)),
    ):
        assert (await gateway.send(message)).verdict is Verdict.REFUSED
        await gateway.close()


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"collapse_id": "x" * 65}, "collapse_id"),
        ({"collapse_id": "geschenkeüber"}, "collapse_id"),
        ({"collapse_id": "a\r\nb: c"}, "collapse_id"),
        ({"expires_at": datetime(2026, 1, 1)}, "expires_at"),
    ],
)
def test_a_message_that_could_not_travel_is_not_made(changes: dict[str, Any], named: str) -> None:
    with pytest.raises(ValueError, match=named):
        replace(MESSAGE, **changes)


# --- What answers mean -----------------------------------------------------------------------------------------

HTML = b"<!DOCTYPE html><title>Error</title>"


@pytest.mark.parametrize(
    "body", [b"", HTML, b"[]", b"null", b'{"error": 7}', b'{"error": {"details": [7, {}]}}', b"\xff"]
)
@pytest.mark.parametrize(
    ("status", "verdict"),
    [(404, "later"), (500, "later"), (502, "later"), (429, "later"), (302, "later"), (401, "later"), (400, "refused")],
)  # fmt: skip
def test_an_answer_that_is_not_the_services_own_costs_no_device(body: bytes, status: int, verdict: str) -> None:
    for judge in (fcm.judge, apns.judge):
        answer = judge(httpx.Response(status, content=body))
        assert answer.verdict == verdict
        assert str(status) in answer.reason


def test_the_form_of_a_bad_token_that_names_no_field() -> None:
    error = {
        "code": 400,
        "message": "The registration token is not a valid FCM registration token",
        "status": "INVALID_ARGUMENT",
        "details": [{"@type": "type.googleapis.com/google.firebase.fcm.v1.FcmError", "errorCode": "INVALID_ARGUMENT"}],
    }
    assert fcm.judge(httpx.Response(400, json={"error": error})) == Answer(Verdict.GONE, "INVALID_ARGUMENT")


def test_reasons_hold_nothing_of_the_message() -> None:
    error = {"code": 400, "message": "Invalid value at 'message.data[0].value', Ada's secret", "status": "X"}
    assert "Ada" not in fcm.judge(httpx.Response(400, json={"error": error})).reason


@pytest.mark.parametrize(
    ("value", "seconds"),
    [("0", 0.0), (" 120 ", 120.0), ("9" * 400, 999_999_999.0), ("-5", None), ("1.5", None), ("", None), ("٣", None),
     (None, None), ("Wed, 21 Oct 2015 07:28:00 GMT", 0.0), ("Wed, 99 Oct 2015 07:28:00 GMT", None)],
)  # fmt: skip
def test_retry_after(value: str | None, seconds: float | None) -> None:
    assert retry_after(value) == seconds


def test_retry_after_a_date_to_come() -> None:
    moment = datetime.now(UTC) + timedelta(minutes=5)
    assert retry_after(format_datetime(moment, usegmt=True)) == pytest.approx(300, abs=5)


# --- Provider tokens -------------------------------------------------------------------------------------------


class Clock:
    """A clock that is moved by hand."""

    def __init__(self) -> None:
        self.seconds = float(NOW)

    def __call__(self) -> float:
        return self.seconds


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def tokens(clock: Clock) -> ProviderTokens:
    return ProviderTokens(KEY, "KEYID12345", "TEAM123456", clock)


KEY = ec.generate_private_key(ec.SECP256R1())


def test_a_provider_token_is_what_apple_asks_for(tokens: ProviderTokens) -> None:
    token = tokens.current()
    assert jwt.get_unverified_header(token) == {"alg": "ES256", "kid": "KEYID12345", "typ": "JWT"}
    claims = jwt.decode(token, KEY.public_key(), algorithms=["ES256"], options={"verify_iat": False})
    assert claims == {"iss": "TEAM123456", "iat": NOW}


def test_a_provider_token_serves_for_forty_minutes(tokens: ProviderTokens, clock: Clock) -> None:
    first = tokens.current()
    clock.seconds += 40 * 60 - 1
    assert tokens.current() == first
    clock.seconds += 1
    assert tokens.current() != first


def test_a_token_called_expired_is_replaced_once_for_all_who_hear_it(tokens: ProviderTokens, clock: Clock) -> None:
    first = tokens.current()
    clock.seconds += 20 * 60
    second = tokens.instead_of(first)
    assert second is not None
    assert second != first
    clock.seconds += 1
    assert tokens.instead_of(first) == second


def test_tokens_are_never_made_faster_than_every_twenty_minutes(tokens: ProviderTokens, clock: Clock) -> None:
    made = []
    for _ in range(3_600):
        token = tokens.current()
        # Apple refuses every one of them.
        made.append(tokens.instead_of(token) or token)
        clock.seconds += 5
    assert len(set(made)) == pytest.approx(3_600 * 5 / (20 * 60), abs=1)


def test_a_clock_that_is_set_back_makes_a_new_token(tokens: ProviderTokens, clock: Clock) -> None:
    ahead = tokens.current()
    clock.seconds -= 3_600
    assert tokens.current() != ahead


# --- Settings ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("missing", ["key_file", "key_id", "team_id", "topic"])
def test_apns_names_the_setting_that_is_missing(apns_settings: dict[str, Any], missing: str) -> None:
    with pytest.raises(ValueError, match=f"APNS_{missing.upper()}: is not set"):
        ApnsGateway(ApnsSettings(**{**apns_settings, missing: None}))


def test_fcm_names_the_setting_that_is_missing() -> None:
    with pytest.raises(ValueError, match="FCM_SERVICE_ACCOUNT_FILE: is not set"):
        FcmGateway(FcmSettings(service_account_file=None))


@pytest.mark.parametrize("content", [None, "", "[]", "{}", '{"type": "service_account"}', "not JSON"])
def test_fcm_names_the_file_that_is_none(tmp_path: Path, content: str | None) -> None:
    path = tmp_path / "account.json"
    if content is not None:
        path.write_text(content)
    with pytest.raises(ValueError, match=r"FCM_SERVICE_ACCOUNT_FILE: .*account\.json"):
        FcmGateway(FcmSettings(service_account_file=str(path)))


def test_a_service_account_needs_its_project(tmp_path: Path, keys: Path) -> None:
    account = json.loads((keys / "service-account.json").read_text())
    del account["project_id"]
    path = tmp_path / "account.json"
    path.write_text(json.dumps(account))
    with pytest.raises(ValueError, match=r"FCM_SERVICE_ACCOUNT_FILE.*project_id"):
        FcmGateway(FcmSettings(service_account_file=str(path)))


def test_apns_names_the_file_that_is_none(tmp_path: Path, keys: Path, apns_settings: dict[str, Any]) -> None:
    rsa_key = json.loads((keys / "service-account.json").read_text())["private_key"]
    for content in ("", "no key", rsa_key):
        path = tmp_path / "key.p8"
        path.write_text(content)
        with pytest.raises(ValueError, match=r"APNS_KEY_FILE: .*key\.p8"):
            ApnsGateway(ApnsSettings(**{**apns_settings, "key_file": str(path)}))


def test_a_file_without_certificates_is_named(tmp_path: Path, keys: Path, apns_settings: dict[str, Any]) -> None:
    path = tmp_path / "ca.pem"
    path.write_text("nothing")
    with pytest.raises(ValueError, match="FCM_CA_FILE"):
        FcmGateway(FcmSettings(service_account_file=str(keys / "service-account.json"), ca_file=str(path)))
    with pytest.raises(ValueError, match="APNS_CA_FILE"):
        ApnsGateway(ApnsSettings(**apns_settings, ca_file=str(tmp_path / "missing.pem")))
