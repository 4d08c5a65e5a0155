"""The languages of notifications."""

from __future__ import annotations

import io
from functools import cache
from gettext import GNUTranslations, NullTranslations
from pathlib import Path

from babel import Locale, UnknownLocaleError
from babel.messages.mofile import write_mo
from babel.messages.pofile import read_po

_FOLDER = Path(__file__).parent / "locale"
# English is what templates and code are written in.
LANGUAGES = ("en", *sorted(path.stem for path in _FOLDER.glob("*.po")))


def language_of(locale: str) -> str:
    """The language that a person with *locale* gets: theirs where there is a translation, else English."""
    try:
        language = str(Locale.parse(locale, sep="-").language)
    except (UnknownLocaleError, ValueError, TypeError):
        return "en"
    return language if language in LANGUAGES else "en"


@cache
def translations(language: str) -> NullTranslations:
    """The sentences of *language*, compiled from its ``.po`` file."""
    if language == "en":
        return NullTranslations()
    compiled = io.BytesIO()
    with (_FOLDER / f"{language}.po").open("rb") as source:
        write_mo(compiled, read_po(source, locale=language))
    compiled.seek(0)
    return GNUTranslations(compiled)
