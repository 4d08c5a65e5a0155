"""Why a render failed, named for what the caller must do."""

from __future__ import annotations


class RenderError(Exception):
    """A render that gave no picture. *retry_after* is in whole seconds, None where it would not help."""

    status = 500
    code = "RENDER_FAILED"
    retry_after: int | None = None


class CardNotDrawable(RenderError):
    """This card cannot be drawn, while others can: asking again does not help."""

    status = 422
    code = "CARD_NOT_DRAWABLE"


class PoolExhausted(RenderError):
    """No page became free in time: come again when the queue is shorter."""

    status = 503
    code = "POOL_EXHAUSTED"
    retry_after = 2


class BrowserUnavailable(RenderError):
    """The browser does not start, or died twice under one card."""

    status = 503
    code = "BROWSER_UNAVAILABLE"
    retry_after = 5


class PageTimeout(RenderError):
    """The page took longer than the caller waits."""

    status = 504
    code = "RENDER_TIMEOUT"


class UploadFailed(RenderError):
    """The bucket refused the picture twice."""

    status = 502
    code = "UPLOAD_FAILED"
    retry_after = 2
