"""Tokens: only RS256 under our key, with issuer, audience, expiry and subject, names anybody."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import time
from pathlib import Path
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from fastapi import Request
from hypothesis import given
from hypothesis import strategies as st

from api.auth import LEEWAY_SECONDS, Authenticator, KeyFile, key_source
from api.errors import ApiError
from config.settings import AuthSettings

SETTINGS = AuthSettings(public_key_file="unused")
PRIVATE = rsa.generate_private_key(public_exponent=65537, key_size=2048)
PUBLIC = PRIVATE.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)


class OneKey:
    """A key source that knows one key."""

    async def key_for(self, _: str) -> Any:
        return PUBLIC.decode()


AUTHENTICATOR = Authenticator(SETTINGS, OneKey())


def _claims(**changes: Any) -> dict[str, Any]:
    now = int(time.time())
    good = {"sub": "user_maya", "iss": SETTINGS.issuer, "aud": SETTINGS.audience, "exp": now + 60}
    return {name: value for name, value in {**good, **changes}.items() if value is not None}


async def _user(header: str | None) -> str | None:
    headers = [] if header is None else [(b"authorization", header.encode("latin-1"))]
    return await AUTHENTICATOR.user_of(Request({"type": "http", "headers": headers}))


async def _refused(token: str) -> None:
    with pytest.raises(ApiError) as caught:
        await _user(f"Bearer {token}")
    assert caught.value.status == 401


class CountedKeys(OneKey):
    """Says how often it was asked."""

    asked = 0

    async def key_for(self, token: str) -> Any:
        self.asked += 1
        return await super().key_for(token)


async def test_a_known_token_is_checked_again_after_five_minutes_and_never_outlives_its_expiry() -> None:
    now = time.time()
    keys = CountedKeys()
    authenticator = Authenticator(SETTINGS, keys, lambda: now)
    long, short = (jwt.encode(_claims(exp=int(now) + left), PRIVATE, algorithm="RS256") for left in (3_600, 10))
    for token in (long, long, short, short):
        assert await authenticator.subject_of(token) == "user_maya"
    assert keys.asked == 2
    now += 10 + LEEWAY_SECONDS + 1
    await authenticator.subject_of(long)
    assert keys.asked == 2
    await authenticator.subject_of(short)
    assert keys.asked == 3, "its expiry is looked at again by the real clock"
    now += 300
    await authenticator.subject_of(long)
    assert keys.asked == 4


async def test_a_good_token_names_its_user() -> None:
    token = jwt.encode(_claims(), PRIVATE, algorithm="RS256")
    assert await _user(f"Bearer {token}") == "user_maya"
    assert await _user(f"bearer {token}") == "user_maya"
    assert await _user(None) is None


@pytest.mark.parametrize(
    "changes",
    [
        {"exp": int(time.time()) - 10},
        {"iat": int(time.time()) + 600},
        {"sub": "\ud800"},
        {"sub": "a\udfffb"},
        {"exp": None},
        {"iss": "https://elsewhere.example"},
        {"iss": None},
        {"aud": "another-api"},
        {"aud": None},
        {"sub": None},
        {"sub": ""},
        {"sub": "x" * 200},
        {"sub": "a\0b"},
        {"nbf": int(time.time()) + 600},
    ],
)
async def test_claims_that_are_not_enough(changes: dict[str, Any]) -> None:
    await _refused(jwt.encode(_claims(**changes), PRIVATE, algorithm="RS256"))


async def test_other_algorithms_prove_nothing() -> None:
    def part(value: object) -> str:
        return base64.urlsafe_b64encode(json.dumps(value).encode()).rstrip(b"=").decode()

    await _refused(jwt.encode(_claims(), "", algorithm="none"))
    await _refused(jwt.encode(_claims(), PRIVATE, algorithm="RS512"))
    signed = f"{part({'alg': 'HS256', 'typ': 'JWT'})}.{part(_claims())}"
    mac = hmac.new(PUBLIC, signed.encode(), hashlib.sha256).digest()
    await _refused(f"{signed}.{base64.urlsafe_b64encode(mac).rstrip(b'=').decode()}")
    other = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    await _refused(jwt.encode(_claims(), other, algorithm="RS256"))


@given(st.text(st.characters(max_codepoint=255), min_size=1, max_size=200))
async def test_any_text_is_refused_politely(text: str) -> None:
    with pytest.raises(ApiError) as caught:
        await _user(text)
    assert caught.value.status == 401


def test_a_missing_key_is_said_at_start(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="JWT_PUBLIC_KEY_FILE"):
        key_source(AuthSettings(public_key_file=None, jwks_url=None))
    with pytest.raises(OSError):
        KeyFile(str(tmp_path / "missing.pem"))
