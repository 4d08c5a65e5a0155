"""What ``POST /render`` accepts (spec, "Internal HTTP Traces — OG Renderer Service")."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StringConstraints, ValidationError

WIDTH, HEIGHT = 1200, 630
SHOWN_ITEMS = 4

LONGEST_URL = 2_048

Line = Annotated[str, StringConstraints(strip_whitespace=True, max_length=500)]


class InvalidRequest(ValueError):
    """The body is not a render request: *field* names the part that is wrong, in dotted form."""

    def __init__(self, field: str, message: str) -> None:
        super().__init__(f"{field}: {message}")
        self.field = field


class _Part(BaseModel):
    # A newer caller may send more than we know of: what is unknown is left aside, as events do.
    model_config = ConfigDict(frozen=True, extra="ignore")


def _short_enough(url: str | None) -> str | None:
    return url if url is None or len(url) <= LONGEST_URL else None


class Item(_Part):
    """One wish; *image* is a URL on an allowed host, *price* is shown as it is written.

    What is too long for a URL, such as a picture inside a ``data:`` one, is as good as none: a placeholder is drawn.
    """

    name: Line = ""
    image: Annotated[str | None, AfterValidator(_short_enough)] = None
    price: Annotated[str, StringConstraints(strip_whitespace=True, max_length=24)] | None = None


class CardData(_Part):
    """What the card says. More than four items may be sent: the first four are shown. An empty owner is left out."""

    wishlist_title: Annotated[Line, StringConstraints(min_length=1)]
    owner_name: Line
    items: tuple[Item, ...] = Field((), max_length=200)
    item_count: int = Field(ge=0, le=1_000_000)


class Output(_Part):
    """The picture's form. There is one size; *quality* is accepted and has no meaning for a PNG (DESIGN 6)."""

    format: Literal["png"] = "png"
    width: Literal[1200] = 1200
    height: Literal[630] = 630
    quality: int = Field(85, ge=1, le=100)


class RenderRequest(_Part):
    """The body of ``POST /render``; with *share_token* the picture is also put at that share's path."""

    template: Literal["wishlist-share"]
    data: CardData
    output: Output = Output()
    share_token: Annotated[str, StringConstraints(pattern=r"^[0-9A-Za-z]{8,64}$")] | None = None


def parse(body: bytes) -> RenderRequest:
    """Read a request; raises :class:`InvalidRequest` for the first field that is wrong."""
    try:
        return RenderRequest.model_validate_json(body)
    except ValidationError as error:
        problem = error.errors(include_url=False, include_input=False)[0]
        field = ".".join(str(part) for part in problem["loc"]) or "body"
        raise InvalidRequest(field, problem["msg"]) from error
