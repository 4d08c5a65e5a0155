"""Links as mail programs and chats make them lead to the page, whatever they took into the link."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from api.page import canonical_token

TOKEN = "Ab3dE6gH9jK2mN5pQ8sT1v"
BEHIND = ("//", "),", ").", "&gt;", "</a>", '">here', ")%20and", ". Look at this", "/index.html")
MARKS = "/ \t.,)>]}!?;:*_'\"\u201d\u2019\xbb\u300d\u3002\uff0c\xa0\u200b\u2026\n"


@pytest.mark.parametrize(
    "link",
    [
        *(TOKEN + mark for mark in MARKS),
        *(
            TOKEN + text
            for text in ("//", "),", ").", "&gt;", "</a>", '">here', ")%20and", ". Look at this", "/index.html")
        ),
        *(mark + TOKEN for mark in (" ", "<", "(", "\u201c", "\u200b")),
        f"<{TOKEN}>",
    ],
)
def test_marks_around_a_token_are_left_out(link: str) -> None:
    assert canonical_token(link) == TOKEN


@pytest.mark.parametrize(
    "link",
    [
        "",
        "A" * 20,
        "A" * 21 + "-",
        "A" * 23,
        "\xfc",
        "\xfc" * 22,
        TOKEN + "a.",
        "a" + TOKEN,
        TOKEN[:9] + "/" + TOKEN[9:],
    ],
)
def test_what_holds_no_token_is_none(link: str) -> None:
    assert canonical_token(link) is None


@given(st.text(max_size=400))
def test_any_text_gives_a_token_or_none(link: str) -> None:
    found = canonical_token(link)
    assert found is None or (found in link and len(found) == 22)
