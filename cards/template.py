"""The card's page: one HTML document that needs nothing from outside, its fonts included."""

from __future__ import annotations

import base64
import hashlib
import secrets
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).parent
ASSETS = HERE / "assets"
TEMPLATES = HERE / "templates"
FALLBACK_PICTURE = ASSETS / "wishlist-share-preview.png"

_LATIN = (
    "U+0000-00FF,U+0131,U+0152-0153,U+02BB-02BC,U+02C6,U+02DA,U+02DC,U+0304,U+0308,U+0329,U+2000-206F,U+20AC,"
    "U+2122,U+2191,U+2193,U+2212,U+2215,U+FEFF,U+FFFD"
)
_LATIN_EXT = (
    "U+0100-02BA,U+02BD-02C5,U+02C7-02CC,U+02CE-02D7,U+02DD-02FF,U+0304,U+0308,U+0329,U+1D00-1DBF,U+1E00-1E9F,"
    "U+1EF2-1EFF,U+2020,U+20A0-20AB,U+20AD-20C0,U+2113,U+2C60-2C7F,U+A720-A7FF"
)
_VIETNAMESE = (
    "U+0102-0103,U+0110-0111,U+0128-0129,U+0168-0169,U+01A0-01A1,U+01AF-01B0,U+0300-0301,U+0303-0304,"
    "U+0308-0309,U+0323,U+0329,U+1EA0-1EF9,U+20AB"
)
_CYRILLIC = "U+0301,U+0400-045F,U+0490-0491,U+04B0-04B1,U+2116"
_GREEK = "U+0370-0377,U+037A-037F,U+0384-038A,U+038C,U+038E-03A1,U+03A3-03FF"

# (family, style, file, characters); other scripts come from the system's Noto fonts.
FONTS: tuple[tuple[str, str, str, str], ...] = (
    ("Fraunces", "normal", "fraunces-vietnamese-opsz-normal", _VIETNAMESE),
    ("Fraunces", "normal", "fraunces-latin-ext-opsz-normal", _LATIN_EXT),
    ("Fraunces", "normal", "fraunces-latin-opsz-normal", _LATIN),
    ("Fraunces", "italic", "fraunces-latin-wght-italic", _LATIN),
    ("Inter", "normal", "inter-vietnamese-wght-normal", _VIETNAMESE),
    ("Inter", "normal", "inter-latin-ext-wght-normal", _LATIN_EXT),
    ("Inter", "normal", "inter-cyrillic-wght-normal", _CYRILLIC),
    ("Inter", "normal", "inter-greek-wght-normal", _GREEK),
    ("Inter", "normal", "inter-latin-wght-normal", _LATIN),
)


@dataclass(frozen=True)
class Template:
    """A page to show in the browser, and the version that its pictures' cache keys carry."""

    html: str
    content_security_policy: str
    version: str


def load_template(name: str = "wishlist-share") -> Template:
    """Read ``templates/<name>.html`` and put the fonts in."""
    source = (TEMPLATES / f"{name}.html").read_text(encoding="utf-8")
    nonce = secrets.token_urlsafe(16)
    page = source.replace("/* fonts */", "\n".join(_font_face(*font) for font in FONTS))
    return Template(
        html=page.replace("{{nonce}}", nonce),
        content_security_policy=(
            "default-src 'none'; img-src data:; font-src data:; style-src 'unsafe-inline'; "
            f"script-src 'nonce-{nonce}'; base-uri 'none'; form-action 'none'"
        ),
        version=hashlib.sha256(page.encode()).hexdigest()[:16],
    )


def _font_face(family: str, style: str, file: str, characters: str) -> str:
    data = base64.b64encode((ASSETS / "fonts" / f"{file}.woff2").read_bytes()).decode()
    return (
        f"@font-face{{font-family:{family};font-style:{style};font-weight:100 900;font-display:block;"
        f"src:url(data:font/woff2;base64,{data}) format('woff2');unicode-range:{characters}}}"
    )
