"""``wishlist token``: JSON Web Tokens as the shop's own sign-in would make them, for development."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import jwt
import typer
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from rich.console import Console

from config.settings import AuthSettings, load

console = Console()


class NoSigningKey(RuntimeError):
    """There is no private key to sign with, as in production."""


def signer(settings: AuthSettings, minutes: int = 60) -> Callable[[str], str]:
    """A function that makes a token for a user's public id, good for *minutes*; raises :class:`NoSigningKey`."""
    if settings.private_key_file is None:
        raise NoSigningKey("JWT_PRIVATE_KEY_FILE is not set; ./run up makes a development key and sets it")
    key = load_pem_private_key(Path(settings.private_key_file).read_bytes(), None)
    if not isinstance(key, RSAPrivateKey):
        raise NoSigningKey(f"{settings.private_key_file} is no RSA key")
    private_key = key

    def sign(user: str) -> str:
        now = int(time.time())
        claims = {"sub": user, "iss": settings.issuer, "aud": settings.audience, "iat": now, "exp": now + 60 * minutes}
        return jwt.encode(claims, private_key, algorithm="RS256")

    return sign


def token(
    user: Annotated[str, typer.Argument(help="The user's public id, e.g. user_maya.")],
    minutes: Annotated[int, typer.Option(help="How long the token is good.")] = 60,
) -> None:
    """Print a JWT for a user, signed with the development key."""
    try:
        typer.echo(signer(load(AuthSettings), minutes)(user))
    except NoSigningKey as error:
        console.print(f"[red]{error}[/]")
        raise typer.Exit(1) from None
