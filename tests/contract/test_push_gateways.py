"""What holds for both push gateways, against the stand-ins of the running stack.

Tests that need nothing of the stand-ins but their answer ("place") run against the real services too, where a device of
one's own is named, which then shows some notifications::

    PUSH_REAL_FCM_TOKEN=… PUSH_REAL_FCM_SERVICE_ACCOUNT_FILE=… \\
    PUSH_REAL_APNS_TOKEN=… PUSH_REAL_APNS_KEY_FILE=… PUSH_REAL_APNS_KEY_ID=… PUSH_REAL_APNS_TEAM_ID=… \\
    PUSH_REAL_APNS_TOPIC=… ./run test tests/contract/test_push_gateways.py -k real

Every setting of ``FCM_…`` and ``APNS_…`` has its PUSH_REAL_ form: a development build of the app needs
PUSH_REAL_APNS_ENDPOINT=https://api.sandbox.push.apple.com.
"""

from __future__ import annotations

import asyncio
import os
import sys
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path
from typing import Any, cast
from uuid import uuid4

import httpx
import pytest

from clients.apns import EXPIRED, ApnsGateway
from clients.fcm import FcmGateway
from clients.push_connection import trust
from clients.push_gateway import Answer, PushGateway, PushMessage, Verdict
from config.settings import ApnsSettings, FcmSettings
from tests.push_services import PushServices, Service, device_token

# The stand-ins get only what time a busy machine has left.
PATIENT: dict[str, Any] = {"timeout_seconds": 60.0}
FACTORIES: dict[str, Callable[..., PushGateway]] = {
    "fcm": lambda **changes: FcmGateway(FcmSettings(**PATIENT | changes)),
    "apns": lambda **changes: ApnsGateway(ApnsSettings(**PATIENT | changes)),
}
SCRIPTS = {
    "Latin": "Ada added a lamp to her list. ",
    "quotation": '"\\\n\t',
    "Chinese": "愿望清单里的台灯已被添加",
    "families": "👨‍👩‍👧‍👦",
    "combining": "e\u0301\u0323",
}


@dataclass(frozen=True)
class Place:
    """A gateway and, where the service is a stand-in, a way to ask it what it got; else *device* is somebody's own."""

    service: Service
    gateway: PushGateway
    outside: PushServices | None = None
    device: str = ""

    def message(self, **changes: Any) -> PushMessage:
        """A notification for a device that exists."""
        return a_message(self.service, **({"token": self.device} if self.device else {}) | changes)

    async def received(self, message: PushMessage) -> list[dict[str, Any]] | None:
        """What the message's device got, where that can be told."""
        return await self.outside.received(message.token) if self.outside else None


@pytest.fixture(params=["fcm", "apns", "real_fcm", "real_apns"])
async def place(request: pytest.FixtureRequest) -> AsyncIterator[Place]:
    real, _, name = request.param.rpartition("_")
    service, prefix = cast(Service, name), f"PUSH_REAL_{name.upper()}_"
    if real:
        device = os.environ.get(f"{prefix}TOKEN")
        if not device:
            pytest.skip(f"{prefix}TOKEN names no device")
        place = Place(service, FACTORIES[service](_env_prefix=prefix), device=device)
    else:
        place = Place(service, FACTORIES[service](), PushServices())
    yield place
    await place.gateway.close()
    if place.outside:
        await place.outside.close()


@pytest.fixture(params=["fcm", "apns"])
def service(request: pytest.FixtureRequest) -> Service:
    return cast(Service, request.param)


@pytest.fixture
async def outside() -> AsyncIterator[PushServices]:
    outside = PushServices()
    await outside.behave_well()
    yield outside
    await outside.behave_well()
    await outside.close()


@pytest.fixture
async def gateway(service: Service) -> AsyncIterator[PushGateway]:
    gateway = FACTORIES[service]()
    yield gateway
    await gateway.close()


def a_message(service: Service, **changes: Any) -> PushMessage:
    message = PushMessage(
        id=uuid4(),
        token=device_token(service),
        title="Holiday Gift Ideas 2025",
        body="Ada added a lamp",
        collapse_id="share-7",
        url="https://vantage.com/w/abc",
        expires_at=datetime.now(UTC) + timedelta(hours=1),
    )
    return replace(message, **changes)


async def deliver(gateway: PushGateway, message: PushMessage) -> None:
    """Send as the relay does: until it is taken."""
    while (answer := await gateway.send(message)).verdict is not Verdict.TAKEN:
        assert answer.verdict is Verdict.LATER


async def test_a_notification_arrives_whole(place: Place) -> None:
    message = place.message()
    assert await place.gateway.send(message) == Answer(Verdict.TAKEN, "")
    received = await place.received(message)
    if received is None:
        return
    [got] = received
    assert {name: got[name] for name in ("service", "id", "title", "body", "collapse_id", "url")} == {
        "service": place.service,
        "id": str(message.id),
        "title": message.title,
        "body": message.body,
        "collapse_id": message.collapse_id,
        "url": message.url,
    }
    # FCM is told how long it is good for, in whole seconds, and APNs until when.
    assert got["expires_at"] == pytest.approx(message.expires_at.timestamp(), abs=5)


async def test_what_has_expired_is_now_or_never(service: Service, gateway: PushGateway, outside: PushServices) -> None:
    message = a_message(service, expires_at=datetime.now(UTC) - timedelta(days=1))
    assert (await gateway.send(message)).verdict is Verdict.TAKEN
    [got] = await outside.received(message.token)
    assert got["expires_at"] <= got["time"]


@pytest.mark.parametrize(
    ("service", "status", "reason", "field", "verdict"),
    [
        ("fcm", 404, "UNREGISTERED", "", Verdict.GONE),
        ("fcm", 404, "", "", Verdict.GONE),
        ("fcm", 403, "SENDER_ID_MISMATCH", "", Verdict.GONE),
        ("fcm", 400, "INVALID_ARGUMENT", "message.token", Verdict.GONE),
        ("fcm", 400, "INVALID_ARGUMENT", "message.android.ttl", Verdict.REFUSED),
        ("fcm", 400, "INVALID_ARGUMENT", "", Verdict.REFUSED),
        ("fcm", 401, "THIRD_PARTY_AUTH_ERROR", "", Verdict.LATER),
        ("fcm", 403, "", "", Verdict.LATER),
        ("fcm", 429, "QUOTA_EXCEEDED", "", Verdict.LATER),
        ("fcm", 500, "INTERNAL", "", Verdict.LATER),
        ("fcm", 503, "UNAVAILABLE", "", Verdict.LATER),
        ("apns", 410, "Unregistered", "", Verdict.GONE),
        ("apns", 410, "ExpiredToken", "", Verdict.GONE),
        ("apns", 400, "BadDeviceToken", "", Verdict.GONE),
        ("apns", 400, "DeviceTokenNotForTopic", "", Verdict.GONE),
        ("apns", 413, "PayloadTooLarge", "", Verdict.REFUSED),
        ("apns", 400, "BadExpirationDate", "", Verdict.REFUSED),
        ("apns", 400, "TopicDisallowed", "", Verdict.LATER),
        ("apns", 403, "InvalidProviderToken", "", Verdict.LATER),
        ("apns", 403, "ExpiredProviderToken", "", Verdict.LATER),
        ("apns", 429, "TooManyRequests", "", Verdict.LATER),
        ("apns", 500, "InternalServerError", "", Verdict.LATER),
        ("apns", 503, "Shutdown", "", Verdict.LATER),
    ],
)
async def test_each_error_has_its_verdict(
    service: Service, status: int, reason: str, field: str, verdict: Verdict, gateway: PushGateway,
    outside: PushServices,
) -> None:  # fmt: skip
    message = a_message(service)
    await outside.behave(service, message.token, status=status, reason=reason, field=field)
    answer = await gateway.send(message)
    assert answer.verdict is verdict
    assert reason in answer.reason
    assert answer.reason
    assert await outside.received(message.token) == []
    # An error is an answer: the connection goes on, and so does the next message.
    assert (await gateway.send(message)).verdict is Verdict.TAKEN


async def test_the_service_says_when_to_come_again(
    service: Service, gateway: PushGateway, outside: PushServices
) -> None:
    message = a_message(service)
    in_ninety = format_datetime(datetime.now(UTC) + timedelta(seconds=90), usegmt=True)
    waits = []
    for value in ("17", in_ninety, "soon", None):
        await outside.behave(service, message.token, status=503, reason="", retry_after=value)
        waits.append((await gateway.send(message)).retry_after)
    assert waits == [17.0, pytest.approx(89, abs=10), None, None]


async def test_a_service_that_does_not_answer_costs_only_its_time(service: Service, outside: PushServices) -> None:
    gateway = FACTORIES[service](timeout_seconds=1.0)
    first, slow, quick = a_message(service), a_message(service), a_message(service)
    await deliver(gateway, first)
    await outside.behave(service, slow.token, delay=30)
    assert await gateway.send(slow) == Answer(Verdict.LATER, "no answer within 1 s")
    await deliver(gateway, quick)
    # The connection may be dead and nobody told us: the next message does not wait on it.
    before, after = await outside.received(first.token), await outside.received(quick.token)
    assert before[-1]["connection"] != after[0]["connection"]
    await deliver(gateway, slow)
    await gateway.close()


@pytest.mark.parametrize(("cut", "seen"), [("before", 1), ("after", 2)])
async def test_a_lost_connection_loses_nothing(
    service: Service, cut: str, seen: int, gateway: PushGateway, outside: PushServices
) -> None:
    message = a_message(service)
    assert (await gateway.send(a_message(service))).verdict is Verdict.TAKEN
    await outside.behave(service, message.token, cut=cut)
    answer = await gateway.send(message)
    assert answer.verdict is Verdict.LATER
    assert answer.reason
    assert (await gateway.send(message)).verdict is Verdict.TAKEN
    assert [got["id"] for got in await outside.received(message.token)] == [str(message.id)] * seen


async def test_a_service_that_says_goodbye_gets_the_message_over_the_next_connection(
    service: Service, gateway: PushGateway, outside: PushServices
) -> None:
    before, message = a_message(service), a_message(service)
    assert (await gateway.send(before)).verdict is Verdict.TAKEN
    await outside.behave(service, message.token, cut="goaway")
    await deliver(gateway, message)
    [first], [second] = await outside.received(before.token), await outside.received(message.token)
    assert first["connection"] != second["connection"]


async def test_a_connection_lost_under_many_loses_none_of_them(
    service: Service, gateway: PushGateway, outside: PushServices
) -> None:
    messages = [a_message(service) for _ in range(40)]
    await outside.behave(service, messages[20].token, cut="after")
    answers = await asyncio.gather(*(gateway.send(message) for message in messages))
    again = [message for message, answer in zip(messages, answers, strict=True) if answer.verdict is Verdict.LATER]
    assert messages[20] in again
    assert {answer.verdict for answer in answers} <= {Verdict.TAKEN, Verdict.LATER}
    for message in again:
        assert (await gateway.send(message)).verdict is Verdict.TAKEN
    for message in messages:
        ids = [got["id"] for got in await outside.received(message.token)]
        assert ids in ([str(message.id)], [str(message.id)] * 2)


@pytest.mark.parametrize("script", SCRIPTS)
async def test_texts_of_any_length_and_script_fit(place: Place, script: str) -> None:
    message = place.message(title=SCRIPTS[script] * 500, body=SCRIPTS[script] * 5_000)
    assert (await place.gateway.send(message)).verdict is Verdict.TAKEN
    received = await place.received(message)
    if received is None:
        return
    [got] = received
    for text, whole in ((got["title"], message.title), (got["body"], message.body)):
        assert text.endswith("…")
        assert whole.startswith(text[:-1])
        assert len(text) > 100


async def test_many_at_once_share_one_connection(place: Place) -> None:
    # Two hundred would be a burden to one real device.
    messages = [place.message() for _ in range(200 if place.outside else 10)]
    before = await place.outside.grants() if place.outside else 0
    answers = await asyncio.gather(*(place.gateway.send(message) for message in messages))
    assert {answer.verdict for answer in answers} == {Verdict.TAKEN}
    if place.outside:
        wanted = {message.token for message in messages}
        got = [one for one in await place.outside.received() if one["token"] in wanted]
        assert sorted(one["id"] for one in got) == sorted(str(message.id) for message in messages)
        assert len({one["connection"] for one in got}) == 1
        assert await place.outside.grants() - before == (1 if place.service == "fcm" else 0)


async def test_a_token_in_a_form_that_the_service_does_not_know_is_gone(place: Place) -> None:
    assert (await place.gateway.send(place.message(token="abc0"))).verdict is Verdict.GONE


async def test_nobody_is_there(service: Service) -> None:
    gateway = FACTORIES[service](endpoint="https://127.0.0.1:9")
    answer = await gateway.send(a_message(service))
    assert answer.verdict is Verdict.LATER
    assert "Connect" in answer.reason
    await gateway.close()


async def test_another_authority_is_not_believed(service: Service) -> None:
    gateway = FACTORIES[service](ca_file=None)
    answer = await gateway.send(a_message(service))
    assert answer.verdict is Verdict.LATER
    assert "CERTIFICATE_VERIFY_FAILED" in answer.reason
    await gateway.close()


async def test_what_is_no_token_is_not_sent(service: Service, gateway: PushGateway) -> None:
    for token in ("", "../../received", "a" * 100_000, "\ud83d", "gone\r\nx: y"):
        assert (await gateway.send(a_message(service, token=token))).verdict is Verdict.GONE


async def test_no_log_names_a_device_or_holds_credentials(outside: PushServices) -> None:
    tokens = {service: device_token(service) for service in ("fcm", "apns")}
    program = f"""
import asyncio
from clients import logs
from tests.contract.test_push_gateways import FACTORIES, a_message
logs.configure("push", "DEBUG")
async def main():
    for service, token in {tokens!r}.items():
        print((await FACTORIES[service]().send(a_message(service, token=token))).verdict)
asyncio.run(main())
"""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-c",
        program,
        cwd=Path(__file__).parents[2],
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    printed, logged = (stream.decode() for stream in await process.communicate())
    assert printed.split() == ["taken", "taken"], logged
    for secret in (*tokens.values(), "ya29.", "eyJ", "earer "):
        assert secret not in logged


# --- FCM's access tokens --------------------------------------------------------------------------------------


async def test_a_revoked_access_token_is_replaced_under_way(outside: PushServices) -> None:
    gateway = FACTORIES["fcm"]()
    assert (await gateway.send(a_message("fcm"))).verdict is Verdict.TAKEN
    await outside.revoke_grants()
    before = await outside.grants()
    answers = await asyncio.gather(*(gateway.send(a_message("fcm")) for _ in range(20)))
    assert {answer.verdict for answer in answers} == {Verdict.TAKEN}
    assert await outside.grants() - before == 1
    await gateway.close()


async def test_an_access_token_is_renewed_before_its_end(outside: PushServices) -> None:
    gateway = FACTORIES["fcm"]()
    # Less than the 225 s before the end at which google-auth calls a token stale, and far from expired.
    await outside.behave("google", expires_in=120)
    before = await outside.grants()
    assert (await gateway.send(a_message("fcm"))).verdict is Verdict.TAKEN
    assert (await gateway.send(a_message("fcm"))).verdict is Verdict.TAKEN
    await gateway.close()
    assert await outside.grants() - before == 2


async def test_without_an_access_token_messages_wait(outside: PushServices) -> None:
    gateway = FACTORIES["fcm"]()
    await outside.behave("google", status=400, reason="invalid_grant")
    answer = await gateway.send(a_message("fcm"))
    assert answer.verdict is Verdict.LATER
    assert "invalid_grant" in answer.reason
    assert (await gateway.send(a_message("fcm"))).verdict is Verdict.TAKEN
    await gateway.close()


async def test_an_access_token_that_stays_refused_is_not_asked_for_for_ever(outside: PushServices) -> None:
    gateway = FACTORIES["fcm"]()
    message = a_message("fcm")
    await outside.behave("fcm", message.token, status=401, times=1_000)
    before = await outside.grants()
    assert (await gateway.send(message)).verdict is Verdict.LATER
    assert await outside.grants() - before == 2
    await gateway.close()


# --- APNs' provider tokens -------------------------------------------------------------------------------------


async def test_an_expired_provider_token_is_replaced_under_way(outside: PushServices) -> None:
    clock = [time.time() - 70 * 60]
    gateway = ApnsGateway(ApnsSettings(**PATIENT), now=lambda: clock[0])
    message = a_message("apns")
    assert await gateway.send(message) == Answer(Verdict.LATER, EXPIRED)  # our clock is wrong: another is as old
    clock[0] += 25 * 60
    assert (await gateway.send(message)).verdict is Verdict.TAKEN
    assert len(await outside.received(message.token)) == 1
    await gateway.close()


async def test_apns_speaks_no_older_http() -> None:
    settings = ApnsSettings()
    async with httpx.AsyncClient(
        base_url=settings.endpoint, verify=trust(settings.ca_file, "APNS_CA_FILE"), http2=False
    ) as client:
        with pytest.raises(httpx.TransportError):
            await client.post(f"/3/device/{device_token('apns')}")
