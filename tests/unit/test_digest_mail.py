"""A digest's letter: in its owner's language, with all that the digest holds, and nothing that a name could break."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from babel.messages.extract import extract_from_dir
from babel.messages.pofile import read_po

import notifications
from notifications.mail import Mail, render

FOLDER = Path(notifications.__file__).parent
CONTENT = {
    "name": "Maya C.",
    "locale": "de-AT",
    "date": "2026-11-26",
    "totals": {"views": 1_234, "people": 987, "items_added": 12},
    "day_before": {"views": 1_000, "people": 800, "items_added": 20},
    "countries": [{"name": "DE", "views": 900}, {"name": "JP", "views": 334}],
    "channels": [{"name": "whatsapp", "views": 900}, {"name": "copy_link", "views": 300}, {"name": "odd", "views": 34}],
    "shares": [
        {"share_id": "s", "title": "Hochzeit <b>نور</b> & Söhne", "views": 1_234, "people": 987, "items_added": 12}
    ],
    "more_shares": 9_999,
}


def letter(**changes: Any) -> Mail:
    return render({**CONTENT, **changes}, unsubscribe_url="https://shop.test/u/1", lists_url="https://shop.test/lists")


@pytest.mark.parametrize(
    ("locale", "words"),
    [
        ("de-AT", ["1.234", "987", "12 Artikel", "Deutschland (900), Japan (334)", "1.000 Aufrufe",
                   "WhatsApp (900), Link (300), andere Wege (34)", "9.999 weitere"]),
        ("en-GB", ["1,234", "987", "12 items", "Germany (900), Japan (334)", "1,000 views",
                   "WhatsApp (900), link (300), other ways (34)", "9,999 more"]),
        ("tlh", ["1,234 times"]),
    ],
)  # fmt: skip
def test_both_forms_tell_all_of_it(locale: str, words: list[str]) -> None:
    mail = letter(locale=locale)
    for word in [*words, "https://shop.test/u/1", "https://shop.test/lists"]:
        assert word in mail.html, word
        assert word in mail.text, word


def test_a_name_stays_a_name() -> None:
    mail = letter(name="<script>alert(1)</script>\r\nBcc: all")
    assert "<script>" not in mail.html
    assert "Hochzeit &lt;b&gt;نور&lt;/b&gt; &amp; Söhne" in mail.html
    assert "Hochzeit <b>نور</b> & Söhne" in mail.text
    assert "\n" not in mail.subject


def test_what_is_not_there_is_not_said() -> None:
    mail = letter(locale="en", day_before=None, countries=[], channels=[], more_shares=0)
    for words in ("The day before", "Most from", "Most by", "more\n"):
        assert words not in mail.text


def test_every_sentence_is_translated() -> None:
    methods = [("templates/**", "jinja2"), ("**.py", "python")]
    keywords = {"_": None, "gettext": None, "say": None, "ngettext": (1, 2)}
    written = set()
    for _, _, message, *_ in extract_from_dir(FOLDER, methods, {}, keywords):
        written.add(message if isinstance(message, str) else message[0])
    with (FOLDER / "locale" / "de.po").open("rb") as file:
        known = {m.id if isinstance(m.id, str) else m.id[0]: m for m in read_po(file, locale="de") if m.id}
    assert written - known.keys() == set()
    untranslated = [
        name for name, m in known.items() if not all([m.string] if isinstance(m.string, str) else m.string or [""])
    ]
    assert untranslated == []
    assert len(written) > 10
