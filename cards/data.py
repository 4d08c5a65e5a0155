"""What a card says."""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StringConstraints

WIDTH, HEIGHT = 1200, 630  # Pixels
SHOWN_ITEMS = 4

LONGEST_URL = 2_048

Line = Annotated[str, StringConstraints(strip_whitespace=True, max_length=500)]


class Part(BaseModel):
    """A part of what is sent. What a newer caller sends besides is left aside, as with events."""

    model_config = ConfigDict(frozen=True, extra="ignore")


def _short_enough(url: str | None) -> str | None:
    return url if url is None or len(url) <= LONGEST_URL else None


class Item(Part):
    """One wish; *image* is a URL on an allowed host, *price* is shown as it is written.

    What is too long for a URL, such as a picture inside a ``data:`` one, is as good as none: a placeholder is drawn.
    """

    name: Line = ""
    image: Annotated[str | None, AfterValidator(_short_enough)] = None
    price: Annotated[str, StringConstraints(strip_whitespace=True, max_length=24)] | None = None


class CardData(Part):
    """What the card says. More than four items may be sent: the first four are shown. An empty owner is left out."""

    wishlist_title: Annotated[Line, StringConstraints(min_length=1)]
    owner_name: Line
    items: tuple[Item, ...] = Field((), max_length=200)
    item_count: int = Field(ge=0, le=1_000_000)
