"""What a push notification says, in its owner's language."""

from __future__ import annotations

from dataclasses import dataclass

from babel import Locale
from babel.numbers import format_decimal

from notifications.words import language_of, translations


@dataclass(frozen=True, slots=True)
class Words:
    """What a device shows."""

    title: str
    body: str


def words(*, locale: str, wishlist: str | None, items: int, product: str | None) -> Words:
    """*items* were added from *wishlist*, all of them *product* where that is known (titles; any script)."""
    language = language_of(locale)
    said = translations(language)
    n = format_decimal(items, locale=Locale(language))
    if product is None:
        body = said.ngettext(
            "%(n)s item was added from your wishlist.", "%(n)s items were added from your wishlist.", items
        )
    else:
        body = said.ngettext(
            "“%(product)s” was added from your wishlist.", "“%(product)s” was added %(n)s times.", items
        )
    return Words(wishlist or said.gettext("A wishlist"), body % {"n": n, "product": product})
