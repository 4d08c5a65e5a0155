"""What draws cards: Chromium by default, or a drawing library without a browser (setting ``RENDERER_ENGINE``)."""

from __future__ import annotations

from typing import Any, Protocol


class Engine(Protocol):
    """A pool of places where cards are drawn."""

    total: int

    @property
    def available(self) -> int:
        """Places that wait for work."""

    @property
    def busy(self) -> int:
        """Places at work."""

    @property
    def proof_age(self) -> float:
        """Seconds since a card was last drawn, for a caller or as a canary."""

    async def start(self) -> None:
        """Return once a card can be drawn; raises :class:`renderer_worker.errors.BrowserUnavailable`."""

    async def close(self) -> None:
        """Stop."""

    async def prove(self, within: float) -> bool:
        """Whether a card was drawn in the last *within* seconds; where nobody asked for one, a canary is drawn.

        Never raises; all who ask at the same time share one canary.
        """

    async def draw(self, card: dict[str, Any], wait_until: float, deadline: float) -> bytes:
        """A picture of *card* that Pillow reads, 1200 × 630 pixels.

        Waits for a place until *wait_until* (:class:`renderer_worker.errors.PoolExhausted`) and for the picture until
        *deadline* (:class:`renderer_worker.errors.PageTimeout`), both on the event loop's clock.
        """
