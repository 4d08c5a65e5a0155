"""Links that end a kind of notification without signing in (RFC 8058): signed, and good for that one thing."""

from __future__ import annotations

from dataclasses import dataclass

from itsdangerous import BadSignature, URLSafeSerializer

from config.settings import UnsubscribeSettings
from schemas.text import is_storable


class BadLink(ValueError):
    """Nobody of ours made this link."""


@dataclass(frozen=True, slots=True)
class Wish:
    """Whose notifications of which category end, by which channel."""

    user_id: str
    category: str
    channel: str


class UnsubscribeLinks:
    """Makes and reads them. They do not expire: a letter is read when it is read."""

    def __init__(self, settings: UnsubscribeSettings, public_url: str) -> None:
        self._serializer = URLSafeSerializer(settings.key, salt="unsubscribe")
        self._public_url = public_url

    def link(self, wish: Wish) -> str:
        """The address for *wish*."""
        token = self._serializer.dumps([wish.user_id, wish.category, wish.channel])
        return f"{self._public_url}/unsubscribe/{token if isinstance(token, str) else token.decode()}"

    def read(self, token: str) -> Wish:
        """The wish in *token*; raises :class:`BadLink`."""
        try:
            user_id, category, channel = self._serializer.loads(token)
        except (BadSignature, ValueError, TypeError) as error:
            raise BadLink from error
        wish = Wish(str(user_id), str(category), str(channel))
        if not is_storable(f"{wish.user_id}{wish.category}{wish.channel}"):
            raise BadLink("the link holds text that cannot be stored")
        return wish
