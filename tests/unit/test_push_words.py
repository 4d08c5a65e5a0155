"""What a push notification says."""

from __future__ import annotations

import pytest

from notifications.push import words


@pytest.mark.parametrize(
    ("locale", "items", "product", "body"),
    [
        ("en", 1, "Tea kettle", "“Tea kettle” was added from your wishlist."),
        ("en", 2, "Tea kettle", "“Tea kettle” was added 2 times."),
        ("en", 1, None, "1 item was added from your wishlist."),
        ("en-US", 1200, None, "1,200 items were added from your wishlist."),
        ("de-AT", 1, "Teekessel", "„Teekessel“ wurde von deiner Wunschliste übernommen."),
        ("de", 1200, None, "1.200 Artikel wurden von deiner Wunschliste übernommen."),
        ("xx", 1, None, "1 item was added from your wishlist."),
        ("en", 1, "100 % wool %(n)s {x}", "“100 % wool %(n)s {x}” was added from your wishlist."),
        ("en", 1, "急須 🫖 إبريق", "“急須 🫖 إبريق” was added from your wishlist."),
    ],
)
def test_body(locale: str, items: int, product: str | None, body: str) -> None:
    said = words(locale=locale, wishlist="Holiday Gift Ideas", items=items, product=product)
    assert (said.title, said.body) == ("Holiday Gift Ideas", body)


def test_a_list_without_a_title() -> None:
    assert words(locale="de", wishlist=None, items=1, product=None).title == "Eine Wunschliste"
