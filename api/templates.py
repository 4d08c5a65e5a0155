"""The HTML pages. Templates are read once; their script and style are pinned by hash in the page's CSP."""

from __future__ import annotations

import base64
import hashlib
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

FOLDER = Path(__file__).parent / "pages"
_environment = Environment(
    loader=FileSystemLoader(FOLDER),
    autoescape=True,
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
    auto_reload=False,
)
_STYLE = (FOLDER / "style.css").read_text()
_SCRIPT = (FOLDER / "page.js").read_text()


def _pin(source: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(source.encode()).digest()).decode()}'"


PAGE_HEADERS = {
    "Content-Security-Policy": (
        f"default-src 'none'; img-src https: data:; style-src {_pin(_STYLE)}; script-src {_pin(_SCRIPT)}; "
        "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "strict-origin",
    "X-Robots-Tag": "noindex",
}


def render(name: str, **values: Any) -> bytes:
    """The page *name* with *values*, UTF-8."""
    return _environment.get_template(name).render(style=_STYLE, script=_SCRIPT, **values).encode()
