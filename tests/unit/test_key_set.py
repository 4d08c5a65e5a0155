"""Keys of a JWKS endpoint: a withdrawn one ends, a new one is found, and an endpoint that hangs holds up nobody."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import rsa

from api.auth import Authenticator
from api.errors import ApiError
from api.key_set import FETCH_SECONDS, FRESH_SECONDS, STALE_SECONDS, KeySet, KeysUnavailable, UnknownKey
from config.settings import AuthSettings

SETTINGS = AuthSettings(public_key_file="unused")
ONE, TWO = (rsa.generate_private_key(public_exponent=65537, key_size=2048) for _ in range(2))


def described(kid: str, key: rsa.RSAPrivateKey, **changes: Any) -> dict[str, Any]:
    return {**jwt.algorithms.RSAAlgorithm.to_jwk(key.public_key(), as_dict=True), "kid": kid, "use": "sig", **changes}


def token(kid: str, key: rsa.RSAPrivateKey = ONE, **claims: object) -> str:
    good = {"sub": "user_maya", "iss": SETTINGS.issuer, "aud": SETTINGS.audience, "exp": time.time() + 3_600}
    return jwt.encode({**good, **claims}, key, algorithm="RS256", headers={"kid": kid})


class Endpoint:
    """A JWKS endpoint that answers *body*, or nothing while it *hangs*."""

    def __init__(self, *keys: dict[str, Any]) -> None:
        self.body: bytes = json.dumps({"keys": keys}).encode()
        self.status = 200
        self.hangs = False
        self.asked = 0
        self.url = ""
        self.changed = asyncio.Condition()

    def publish(self, *keys: dict[str, Any]) -> None:
        self.body = json.dumps({"keys": keys}).encode()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        async with self.changed:
            self.asked += 1
            self.changed.notify_all()
        if self.hangs:
            await reader.read()
        head = f"HTTP/1.1 {self.status} x\r\ncontent-length: {len(self.body)}\r\nconnection: close\r\n\r\n"
        writer.write(head.encode() + self.body)
        writer.close()


@asynccontextmanager
async def serving(endpoint: Endpoint) -> AsyncIterator[Endpoint]:
    server = await asyncio.start_server(endpoint.serve, "127.0.0.1", 0)
    endpoint.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/jwks.json"
    try:
        yield endpoint
    finally:
        server.close()


class Clock:
    """Seconds that pass when the test says so."""

    def __init__(self) -> None:
        self.now = time.time()

    def __call__(self) -> float:
        return self.now


async def until_asked(endpoint: Endpoint, times: int) -> None:
    async with asyncio.timeout(10):
        async with endpoint.changed:
            await endpoint.changed.wait_for(lambda: endpoint.asked >= times)


async def test_a_withdrawn_key_is_refused_once_the_set_is_old() -> None:
    async with serving(Endpoint(described("one", ONE), described("two", TWO))) as endpoint:
        clock = Clock()
        keys = KeySet(endpoint.url, clock)
        await keys.key_for(token("one"))
        endpoint.publish(described("two", TWO))
        clock.now += FRESH_SECONDS + 1
        with pytest.raises(UnknownKey):
            await keys.key_for(token("one"))
        assert await keys.key_for(token("two", TWO)) is not None
        assert endpoint.asked == 2


async def test_a_withdrawn_key_opens_nothing_after_ten_minutes_also_by_a_token_that_was_known() -> None:
    async with serving(Endpoint(described("one", ONE))) as endpoint:
        clock = Clock()
        authenticator = Authenticator(SETTINGS, KeySet(endpoint.url, clock), clock)
        known = token("one")
        assert await authenticator.subject_of(known) == "user_maya"
        clock.now += 200
        late = token("one", sub="user_late")
        assert await authenticator.subject_of(late) == "user_late"
        endpoint.publish()  # an empty set is an answer: every key is withdrawn
        clock.now += 400
        for each in (known, late, token("one", sub="user_new")):
            with pytest.raises(ApiError) as caught:
                await authenticator.subject_of(each)
            assert caught.value.status == 401


async def test_the_set_is_read_anew_in_the_background_before_it_is_old() -> None:
    async with serving(Endpoint(described("one", ONE))) as endpoint:
        clock = Clock()
        keys = KeySet(endpoint.url, clock)
        await keys.key_for(token("one"))
        endpoint.hangs = True
        clock.now += FRESH_SECONDS - 30
        async with asyncio.timeout(1):
            await keys.key_for(token("one"))
        await until_asked(endpoint, 2)


async def test_a_new_key_is_found_within_a_second() -> None:
    async with serving(Endpoint(described("one", ONE))) as endpoint:
        authenticator = Authenticator(SETTINGS, KeySet(endpoint.url))
        await authenticator.subject_of(token("one"))
        endpoint.publish(described("one", ONE), described("two", TWO))
        async with asyncio.timeout(3):
            assert await authenticator.subject_of(token("two", TWO)) == "user_maya"


async def test_thirty_unknown_keys_are_one_request_and_the_same_key_is_not_asked_for_twice() -> None:
    async with serving(Endpoint(described("one", ONE))) as endpoint:
        keys = KeySet(endpoint.url)
        unknown = [token(f"unknown {n}") for n in range(30)]
        for expected in (1, 1):
            answers = await asyncio.gather(*map(keys.key_for, unknown), return_exceptions=True)
            assert {type(answer) for answer in answers} == {UnknownKey}
            assert endpoint.asked == expected


async def test_an_endpoint_that_hangs_holds_up_nobody_but_unknown_keys() -> None:
    async with serving(Endpoint(described("one", ONE))) as endpoint:
        authenticator = Authenticator(SETTINGS, KeySet(endpoint.url))
        await authenticator.subject_of(token("one"))
        endpoint.hangs = True
        started = time.monotonic()
        strangers = [asyncio.create_task(authenticator.subject_of(token(f"unknown {n}"))) for n in range(30)]
        await until_asked(endpoint, 2)
        async with asyncio.timeout(1):
            assert await authenticator.subject_of(token("one", sub="user_two")) == "user_two"
            await asyncio.to_thread(time.sleep, 0)  # no thread of the pool is taken
        answers = await asyncio.gather(*strangers, return_exceptions=True)
        assert {answer.status for answer in answers if isinstance(answer, ApiError)} == {503}
        assert time.monotonic() - started < FETCH_SECONDS + 5
        assert endpoint.asked == 2
        with pytest.raises(ApiError) as caught:
            async with asyncio.timeout(1):
                await authenticator.subject_of(token("one more"))
        assert (caught.value.status, endpoint.asked) == (503, 2)


async def test_while_the_endpoint_is_away_its_last_answer_counts_for_a_quarter_of_an_hour() -> None:
    async with serving(Endpoint(described("one", ONE))) as endpoint:
        clock = Clock()
        keys = KeySet(endpoint.url, clock)
        await keys.key_for(token("one"))
        endpoint.status = 500
        clock.now += STALE_SECONDS - 10
        assert await keys.key_for(token("one")) is not None
        clock.now += 20
        with pytest.raises(KeysUnavailable):
            await keys.key_for(token("one"))
        endpoint.status = 200
        clock.now += 10
        assert await keys.key_for(token("one")) is not None


@pytest.mark.parametrize(
    "body", [b"", b"[]", b"{}", b'{"keys": 1}', b"x" * 300_000, b'{"keys": [' + b"{}," * 200 + b"{}]}"]
)
async def test_an_answer_that_is_no_key_set_is_none(body: bytes) -> None:
    async with serving(Endpoint()) as endpoint:
        endpoint.body = body
        with pytest.raises(KeysUnavailable):
            await KeySet(endpoint.url).key_for(token("one"))


async def test_a_key_that_cannot_be_read_costs_only_itself() -> None:
    strange = [
        1,
        {},
        {"kty": "RSA", "kid": "one"},
        {"kty": "oct", "kid": "one", "k": "AAAA"},
        {"kty": "RSA", "kid": "one", "n": "?", "e": []},
        described("one", TWO, use="enc"),
        described("one", ONE),
        described("one", TWO),
    ]
    async with serving(Endpoint()) as endpoint:
        endpoint.body = json.dumps({"keys": strange}).encode()
        found = await KeySet(endpoint.url).key_for(token("one"))
        assert found.public_numbers() == ONE.public_key().public_numbers()


@pytest.mark.parametrize("header", [{}, {"kid": ""}])
async def test_a_token_without_a_key_id_asks_nobody_more_than_once(header: dict[str, Any]) -> None:
    async with serving(Endpoint(described("one", ONE))) as endpoint:
        keys = KeySet(endpoint.url)
        text = jwt.encode({"sub": "x"}, ONE, algorithm="RS256", headers=header or None)
        for _ in range(3):
            with pytest.raises((UnknownKey, jwt.PyJWTError)):
                await keys.key_for(text)
        assert endpoint.asked <= 1


@pytest.mark.parametrize(("field", "ahead"), [("iat", 3), ("nbf", 3), ("exp", -3)])
async def test_clocks_may_differ_by_some_seconds(field: str, ahead: int) -> None:
    async with serving(Endpoint(described("one", ONE))) as endpoint:
        claims: dict[str, Any] = {field: time.time() + ahead}
        assert await Authenticator(SETTINGS, KeySet(endpoint.url)).subject_of(token("one", **claims)) == "user_maya"


@pytest.mark.parametrize(("field", "ahead"), [("iat", 60), ("nbf", 60), ("exp", -60)])
async def test_they_may_not_differ_by_a_minute(field: str, ahead: int) -> None:
    claims: dict[str, Any] = {field: time.time() + ahead}
    async with serving(Endpoint(described("one", ONE))) as endpoint:
        with pytest.raises(ApiError) as caught:
            await Authenticator(SETTINGS, KeySet(endpoint.url)).subject_of(token("one", **claims))
        assert caught.value.status == 401
