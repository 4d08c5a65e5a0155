"""Who asks: RS256 JSON Web Tokens (RFC 7519) with issuer, audience and expiry required."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, Protocol

import jwt
from cachetools import TLRUCache
from cryptography.hazmat.primitives.serialization import load_pem_public_key
from fastapi import Depends, Request

from api.errors import ServiceUnavailable, unauthorized
from api.key_set import KeySet, KeysUnavailable
from config.settings import AuthSettings
from schemas.text import is_storable

# The one algorithm: with the choice left to the token, "none" and HS256 under the public key would pass.
ALGORITHMS = ["RS256"]
_MAX_TOKEN = 8_192
_MAX_SUBJECT = 128
# Issuers' clocks are ahead of ours by fractions of a second, and behind.
LEEWAY_SECONDS = 5.0
# People ask several times within a few minutes, and checking a signature costs more than all else that a token needs.
# A withdrawn key counts for so long after the key set is read anew (api/key_set.py), which is as often.
_KNOWN_SECONDS = 300.0
_MOST_KNOWN = 20_000


class KeySource(Protocol):
    """Finds the public key for a token."""

    async def key_for(self, token: str) -> Any:
        """The key; raises :class:`KeysUnavailable` where the key's source is away, anything else for a bad token."""
        ...


class KeyFile:
    """One RSA public key in a PEM file, read at start."""

    def __init__(self, path: str) -> None:
        self._key = load_pem_public_key(Path(path).read_bytes())

    async def key_for(self, _: str) -> Any:
        """See :class:`KeySource`."""
        return self._key


def key_source(settings: AuthSettings) -> KeySource:
    """The key set where one is configured, else the key file; raises :class:`ValueError` where neither is."""
    if settings.jwks_url:
        return KeySet(settings.jwks_url)
    if settings.public_key_file:
        return KeyFile(settings.public_key_file)
    raise ValueError("set JWT_PUBLIC_KEY_FILE to a PEM file, or JWT_JWKS_URL")


class Authenticator:
    """Turns an Authorization header into a user's public id."""

    def __init__(self, settings: AuthSettings, keys: KeySource, clock: Callable[[], float] = time.time) -> None:
        self._settings = settings
        self._keys = keys
        # Tokens that were good lately, by their hashes: their subjects, and until when they count (Unix time).
        self._known: TLRUCache[bytes, tuple[str, float]] = TLRUCache(
            _MOST_KNOWN, ttu=lambda _, known, now: min(now + _KNOWN_SECONDS, known[1]), timer=clock
        )

    async def user_of(self, request: Request) -> str | None:
        """The user's public id, or None where nobody claims to be anyone; raises 401 for a bad claim."""
        header = request.headers.get("authorization")
        if header is None:
            return None
        scheme, _, token = header.partition(" ")
        token = token.strip()
        if scheme.lower() != "bearer" or not token or len(token) > _MAX_TOKEN:
            raise unauthorized("Send the header Authorization: Bearer <token>")
        return await self.subject_of(token)

    async def subject_of(self, token: str) -> str:
        """The public id of whom *token* is good for; raises 401."""
        name = hashlib.sha256(token.encode("utf-8", "surrogatepass")).digest()
        known = self._known.get(name)
        if known is None:
            known = self._known[name] = await self._checked(token)
        return known[0]

    async def _checked(self, token: str) -> tuple[str, float]:
        try:
            claims = jwt.decode(
                token,
                await self._keys.key_for(token),
                algorithms=ALGORITHMS,
                issuer=self._settings.issuer,
                audience=self._settings.audience,
                leeway=LEEWAY_SECONDS,
                options={"require": ["exp", "iss", "aud", "sub"]},
            )
            subject, expires_at = claims["sub"], float(claims["exp"]) + LEEWAY_SECONDS
        except jwt.ExpiredSignatureError:
            raise unauthorized("The authentication token has expired") from None
        except KeysUnavailable:
            raise ServiceUnavailable("Authentication keys cannot be reached. Try again shortly.") from None
        except Exception:  # whatever a hostile token leads the parser to, it proves nobody's identity
            raise unauthorized("The authentication token is not valid") from None
        if not isinstance(subject, str) or not 0 < len(subject) <= _MAX_SUBJECT or not is_storable(subject):
            raise unauthorized("The authentication token is not valid")
        return subject, expires_at


async def signed_in(request: Request) -> str:
    """Dependency of routes that need a user: their public id, or 401."""
    user = await maybe_signed_in(request)
    if user is None:
        raise unauthorized("Missing or invalid authentication token")
    return user


async def maybe_signed_in(request: Request) -> str | None:
    """Dependency of public routes that know their readers where they can."""
    authenticator: Authenticator = request.app.state.services.authenticator
    return await authenticator.user_of(request)


User = Annotated[str, Depends(signed_in)]
MaybeUser = Annotated[str | None, Depends(maybe_signed_in)]
