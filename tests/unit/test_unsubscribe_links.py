"""Links that end notifications: text that no store takes makes no link."""

from __future__ import annotations

import pytest
from itsdangerous import URLSafeSerializer

from clients.unsubscribe import BadLink, UnsubscribeLinks, Wish
from config.settings import UnsubscribeSettings

SETTINGS = UnsubscribeSettings()
LINKS = UnsubscribeLinks(SETTINGS, "https://vantage.example")
# As JSON writes any text: a lone surrogate is an escape.
SIGNER = URLSafeSerializer(SETTINGS.key, salt="unsubscribe", serializer_kwargs={"ensure_ascii": True})


def token_of(wish: Wish) -> str:
    return LINKS.link(wish).rpartition("/")[2]


@pytest.mark.parametrize("user", ["a\0b", "\0", "\ud800", "a\udfff", "\udc80\ud800"])
def test_a_signed_link_with_text_that_cannot_be_stored_is_none(user: str) -> None:
    signed = SIGNER.dumps([user, "social", "push"])
    with pytest.raises(BadLink):
        LINKS.read(signed if isinstance(signed, str) else signed.decode())


@pytest.mark.parametrize("user", ["user_maya", "ü", "\U0001f381", "a b"])
def test_other_text_is_read_as_it_was_written(user: str) -> None:
    wish = Wish(user, "social", "push")
    assert LINKS.read(token_of(wish)) == wish
