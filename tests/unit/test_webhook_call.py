"""A call of a webhook is signed, goes to a public address only, and takes no more than its time."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import aclosing
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path
from uuid import uuid4

import pytest

from clients.webhook_call import Answer, BadUrl, WebhookCaller, check_url
from clients.webhooks import new_secret
from config.settings import WebhookSettings
from tests.image_host import HOST, OTHER, PUBLIC, ImageHost, open_image_host, response
from tests.webhook_receiver import Receiver, open_receiver

URL = f"https://{HOST}/hook"
OPEN, CLOSED = (WebhookSettings(allow_private=allow) for allow in (True, False))


@pytest.fixture
async def host(tmp_path: Path) -> AsyncIterator[ImageHost]:
    async with open_image_host(tmp_path) as host:
        host.answers["/hook"] = response(204)
        yield host


@pytest.fixture
async def caller(host: ImageHost) -> AsyncIterator[WebhookCaller]:
    async with aclosing(WebhookCaller(CLOSED, resolve=host.resolve, network=host.network, tls=host.tls)) as caller:
        yield caller


async def call(caller: WebhookCaller, url: str = URL) -> Answer:
    return await caller.call(url, [new_secret()], uuid4(), "{}")


async def test_a_receiver_is_called_at_the_address_that_was_checked(host: ImageHost, caller: WebhookCaller) -> None:
    assert (await call(caller)).is_taken
    assert (host.resolved, host.connected, host.asked) == ([HOST], [PUBLIC], ["/hook"])


@pytest.mark.parametrize("address", ["127.0.0.1", "10.1.2.3", "169.254.169.254", "::1", "::ffff:127.0.0.1", "fd00::1"])
async def test_a_name_at_a_private_address_is_not_connected_to(
    host: ImageHost, caller: WebhookCaller, address: str
) -> None:
    for found in ([address], [PUBLIC, address], []):
        host.addresses[HOST] = lambda found=found: found
        assert await call(caller) == Answer(None, f"{HOST} is not at a public address")
    assert host.connected == []


async def test_each_call_finds_its_address_anew(host: ImageHost, caller: WebhookCaller) -> None:
    answers = iter([[PUBLIC], ["127.0.0.1"]])
    host.addresses[HOST] = lambda: next(answers)
    assert [(await call(caller)).is_taken for _ in range(2)] == [True, False]
    assert host.connected == [PUBLIC]


async def test_redirects_are_not_followed(host: ImageHost, caller: WebhookCaller) -> None:
    host.answers["/hook"] = response(307, Location=f"https://{OTHER}/hook")
    answer = await call(caller)
    assert (answer.status, answer.is_taken, host.asked) == (307, False, ["/hook"])


async def test_the_certificate_must_be_the_hosts(host: ImageHost, caller: WebhookCaller) -> None:
    answer = await call(caller, "https://elsewhere.vantage.com/hook")
    assert "certificate" in answer.reason
    assert host.asked == []


@pytest.mark.parametrize(
    ("raw", "status"),
    [
        (b"HTTP/1.1 200 OK\r\n\r\n" + b"x" * 3_000_000, 200),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\ncut", 200),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nnonsense", 200),
        (b"HTTP/1.1 204 No Content\r\nX: " + b"x" * 500_000 + b"\r\n\r\n", None),
        (b"220 mail.example ESMTP\r\n\r\n", None),
        (b"", None),
    ],
    ids=["long", "cut", "broken", "long headers", "no HTTP", "nothing"],
)
async def test_the_status_counts_whatever_follows_it(
    host: ImageHost, caller: WebhookCaller, raw: bytes, status: int | None
) -> None:
    host.answers["/hook"] = raw
    answer = await call(caller)
    assert answer.status == status
    assert answer.is_taken is (status is not None)
    assert answer.reason


@pytest.mark.parametrize(
    ("said", "least", "most"),
    [
        ("120", 120, 120),
        (format_datetime(datetime.now(UTC) + timedelta(hours=1), usegmt=True), 3_000, 3_600),
        (format_datetime(datetime.now(UTC) - timedelta(hours=1), usegmt=True), 0, 0),
        ("soon", 0, 0),
        ("-5", 0, 0),
        ("Thu, 99 Foo 2026 99:99:99 GMT", 0, 0),
    ],
    ids=["seconds", "in an hour", "an hour ago", "a word", "below zero", "no such date"],
)
async def test_retry_after(host: ImageHost, caller: WebhookCaller, said: str, least: float, most: float) -> None:
    host.answers["/hook"] = response(503, Retry_After=said)
    assert least <= (await call(caller)).retry_after <= most


@pytest.mark.parametrize("status", [200, 410, 503])
@pytest.mark.parametrize("said", ["Wed, 21 Oct 2015 07:28:00 +9999999999", "9" * 400, "caf\xe9", "\xff\xfe"], ids=repr)
async def test_a_retry_after_that_is_no_time_leaves_the_answer_as_it_is(
    host: ImageHost, caller: WebhookCaller, status: int, said: str
) -> None:
    host.answers["/hook"] = response(status, Retry_After="PLACE").replace(b"PLACE", said.encode("latin-1"))
    answer = await call(caller)
    assert (answer.status, answer.is_taken, answer.is_gone) == (status, status == 200, status == 410)
    assert 0 <= answer.retry_after < 1e9


@pytest.mark.parametrize(
    "error", [TypeError("header"), OverflowError(), UnicodeError("bytes"), RecursionError(), KeyError(1)], ids=repr
)
async def test_whatever_goes_wrong_in_a_call_is_an_answer(
    caller: WebhookCaller, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    def stream(*_: object, **__: object) -> object:
        raise error

    monkeypatch.setattr(caller._pool, "stream", stream)
    answer = await call(caller)
    assert (answer.status, answer.is_taken) == (None, False)
    assert type(error).__name__ in answer.reason


@pytest.mark.parametrize("url", ["http://localhost:1/", "https://no-such-name.invalid/"])
async def test_who_cannot_be_reached_is_a_failure_with_a_reason(url: str) -> None:
    async with aclosing(WebhookCaller(OPEN)) as caller:
        answer = await call(caller, url)
    assert (answer.status, bool(answer.reason)) == (None, True)


async def test_a_receiver_that_does_not_answer_is_left() -> None:
    settings = WebhookSettings(allow_private=True, timeout_seconds=0.2)
    with open_receiver() as receiver:
        receiver.hold.clear()
        async with aclosing(WebhookCaller(settings)) as caller:
            answer = await call(caller, receiver.url())
    assert answer == Answer(None, "no answer within 0.2 s")


async def test_both_secrets_sign_while_one_is_changed_for_the_other() -> None:
    former, new, id = new_secret(), new_secret(), uuid4()
    with open_receiver() as receiver:
        async with aclosing(WebhookCaller(OPEN)) as caller:
            for known, sent in ((former, [new, former]), (new, [new, former]), (former, [new])):
                receiver.secrets["/"] = known
                await caller.call(receiver.url(), sent, id, '{"type": "ü"}')
    assert [(one.is_genuine, one.id) for one in receiver.calls] == [
        (True, str(id)), (True, str(id)), (False, str(id)),
    ]  # fmt: skip
    assert receiver.calls[0].body == {"type": "ü"}


async def test_names_are_resolved_beside_each_other_and_refused_where_they_lead_inside(receiver: Receiver) -> None:
    """By the system's own name server: localhost is on this machine, whatever it is called."""
    url = f"https://localhost:{receiver.port}/"
    async with aclosing(WebhookCaller(CLOSED)) as caller:
        answers = await asyncio.gather(*(call(caller, url) for _ in range(20)))
    assert {answer.reason for answer in answers} == {"localhost is not at a public address"}
    assert receiver.connections == 0


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with open_receiver() as receiver:
        yield receiver


@pytest.mark.parametrize(
    "url",
    [
        "http://hooks.example/",
        "ftp://hooks.example/",
        "https://",
        "https://user:word@hooks.example/",
        "https://hooks.example\\@127.0.0.1/",
        "https://hooks.example/#part",
        "https://hooks.example:99999/",
        "https://hooks.example/a b",
        "https://hooks.example/\r\nX: y",
        "https://höoks.example/",
        "https://127.0.0.1/",
        "https://169.254.169.254/latest/meta-data/",
        "https://[::1]/",
        "https://[::ffff:10.0.0.1]/",
        "https://[::1",
        "https://hooks.example/" + "x" * 2_000,
        "",
    ],
)
async def test_what_is_no_receivers_url_is_refused_and_not_called(
    host: ImageHost, caller: WebhookCaller, url: str
) -> None:
    with pytest.raises(BadUrl) as refused:
        check_url(url, CLOSED)
    assert refused.value.problem
    assert refused.value.remedy
    assert (await call(caller, url)).status is None
    assert host.resolved == host.connected == []


@pytest.mark.parametrize("url", ["https://hooks.example", "https://hooks.example:8443/a?b=c", "https://93.184.215.14/"])
def test_a_receivers_url(url: str) -> None:
    check_url(url, CLOSED)


def test_development_may_call_this_machine() -> None:
    check_url("http://127.0.0.1:8080/hook", OPEN)
