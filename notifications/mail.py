"""A digest as an e-mail, HTML and text, in its owner's language."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from functools import cache
from pathlib import Path
from typing import Any

from babel import Locale
from babel.dates import format_date
from babel.numbers import format_decimal
from jinja2 import Environment, FileSystemLoader, StrictUndefined

from notifications.words import language_of, translations

_HERE = Path(__file__).parent
_MOST_PLACES = 3
_SERVICES = {"facebook": "Facebook", "twitter": "Twitter", "whatsapp": "WhatsApp"}


@dataclass(frozen=True, slots=True)
class Mail:
    """What a mail program shows."""

    subject: str
    html: str
    text: str


def render(content: Mapping[str, Any], *, unsubscribe_url: str, lists_url: str) -> Mail:
    """The mail of a digest's *content* (:func:`notifications.digest.content_of`, with name, locale and date)."""
    language = language_of(content["locale"])
    locale = Locale(language)

    def number(value: int) -> str:
        return str(format_decimal(value, locale=locale))

    known = {
        **content,
        "language": language,
        "day": format_date(date.fromisoformat(content["date"]), "full", locale=locale),
        "number": number,
        "places": [
            (str(locale.territories.get(place["name"], place["name"])), place["views"])
            for place in content["countries"][:_MOST_PLACES]
        ],
        "ways": [(_way(way["name"], language), way["views"]) for way in content["channels"][:_MOST_PLACES]],
        "unsubscribe_url": unsubscribe_url,
        "lists_url": lists_url,
    }
    pages = {name: _pages(language, name.endswith(".html")).get_template(name).render(known) for name in _NAMES}
    return Mail(pages["subject.txt"].strip(), pages["digest.html"], pages["digest.txt"].strip() + "\n")


def _way(channel: str, language: str) -> str:
    """What people call a share's channel."""
    say = translations(language).gettext
    if channel in _SERVICES:
        return _SERVICES[channel]
    return {"email": say("e-mail"), "link": say("link"), "copy_link": say("link")}.get(channel, say("other ways"))


_NAMES = ("subject.txt", "digest.html", "digest.txt")


@cache
def _pages(language: str, autoescape: bool) -> Environment:
    pages = Environment(
        loader=FileSystemLoader(_HERE / "templates"),
        autoescape=autoescape,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        extensions=["jinja2.ext.i18n"],
    )
    pages.install_gettext_translations(translations(language), newstyle=True)  # type: ignore[attr-defined]
    return pages
