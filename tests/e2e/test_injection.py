"""Words of customers and sellers are text on the page and in its tags, whatever they look like."""

from __future__ import annotations

from html.parser import HTMLParser
from uuid import uuid4

import httpx
import pytest

from .conftest import BROWSER, Owner, Product

HOSTILE = {
    "script": "<script>alert(1)</script>",
    "img": "<img src=x onerror=alert(1)>",
    "double quotes": '" onmouseover="alert(1)" x="',
    "single quotes": "' onmouseover='alert(1)' x='",
    "end of title": "</title></head><body><script>alert(1)</script>",
    "end of script": "</script><script>alert(1)</script>",
    "end of style": "</style><style>*{display:none}</style>",
    "css": "red;}body{display:none}/*",
    "json": '"}];alert(1);//',
    "comment": "<!-- --!> ]]> <![CDATA[",
    "jinja": "{{7*7}}{% raw %}{#",
    "template literal": "${7*7}`",
    "javascript URL": "javascript:alert(1)",
    "entities": "&lt;b&gt; &amp;amp; &#60;i&#62; &quot;",
    "right to left": "\u202egnp.exe\u202c \u2067x\u2069",
    "control characters": "a\x01b\x08c\x1bd\x7fe",
    "very long": "W" * 5_000,
}


class Read(HTMLParser):
    """A page as a browser takes it: how often each element occurs, its attributes' names, its texts and meta tags."""

    def __init__(self, page: str) -> None:
        super().__init__(convert_charrefs=True)
        self.shape: list[tuple[str, ...]] = []
        self.texts: dict[str, list[str]] = {}
        self.attributes: dict[str, list[str]] = {}
        self.meta: dict[str, str] = {}
        self._open = ""
        self.feed(page)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.shape.append((tag, *(name for name, _ in attrs)))
        self._open = tag
        self.texts.setdefault(tag, []).append("")
        values = {name: value or "" for name, value in attrs}
        for name, value in values.items():
            self.attributes.setdefault(name, []).append(value)
        if tag == "meta":
            self.meta[values.get("property") or values.get("name", "")] = values.get("content", "")

    def handle_endtag(self, tag: str) -> None:
        self._open = ""

    def handle_data(self, data: str) -> None:
        if self._open:
            self.texts[self._open][-1] += data


def page_of(product: Product, client: httpx.Client, owner: Owner, words: str) -> Read:
    """The shared page of *owner*'s list, where title, owner and the first item's name are *words*."""
    name = f"prod_{uuid4().hex[:12]}"
    product.sql("INSERT INTO products (id, name, price) VALUES ($1, $2, 5)", name, words)
    product.sql("UPDATE users SET display_name = $2 WHERE public_id = $1", owner.user, words)
    product.sql("UPDATE wishlists SET title = $2 WHERE public_id = $1", owner.wishlist, words)
    first = next(iter(owner.items.values()))
    product.sql("UPDATE wishlist_items SET product_id = $2 WHERE public_id = $1", first, name)
    answer = client.post(owner.shares, json={"channel": "copy_link"}, headers=owner.headers)
    assert answer.status_code == 201, answer.text
    page = client.get(f"/wishlists/shared/{answer.json()['share_token']}")
    assert page.status_code == 200
    assert "default-src 'none'" in page.headers["content-security-policy"]
    assert "unsafe" not in page.headers["content-security-policy"]
    return Read(page.text)


@pytest.fixture(scope="module")
def calm(product: Product) -> Read:
    """The page of harmless words: every other one has its shape."""
    with httpx.Client(base_url=product.api, headers={"User-Agent": BROWSER}, timeout=20) as client:
        return page_of(product, client, product.new_owner(), "Calm")


@pytest.mark.parametrize("words", HOSTILE.values(), ids=HOSTILE.keys())
def test_hostile_words_are_text(product: Product, client: httpx.Client, owner: Owner, calm: Read, words: str) -> None:
    page = page_of(product, client, owner, words)
    assert page.shape == calm.shape
    assert page.texts["title"] == [f"{words}'s Wishlist: {words}"]
    assert page.texts["h1"] == [words]
    assert f"{words} shared a wishlist with you" in page.texts["p"]
    assert words in page.texts["a"]
    assert page.texts["script"] == calm.texts["script"]
    assert page.texts["style"] == calm.texts["style"]
    assert page.meta["og:title"] == f"{words}'s Wishlist: {words}"
    assert page.meta["og:description"] == f"9 items on {words}'s wishlist"
    assert page.meta["twitter:title"] == f"{words}'s Wishlist"
    assert f"Add {words} to my list" in page.attributes["aria-label"]
    assert not any(url.lower().startswith("javascript:") for url in page.attributes["href"])
