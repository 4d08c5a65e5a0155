"""What ``POST /render`` accepts (spec, "Internal HTTP Traces — OG Renderer Service")."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, StringConstraints, ValidationError

from cards.data import CardData, Part


class InvalidRequest(ValueError):
    """The body is not a render request: *field* names the part that is wrong, in dotted form."""

    def __init__(self, field: str, message: str) -> None:
        super().__init__(f"{field}: {message}")
        self.field = field


class Output(Part):
    """The picture's form. There is one size; *quality* is accepted and has no meaning for a PNG (DESIGN 6)."""

    format: Literal["png"] = "png"
    width: Literal[1200] = 1200
    height: Literal[630] = 630
    quality: int = Field(85, ge=1, le=100)


class RenderRequest(Part):
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
