"""Masks what is secret or personal in a dead letter. What is shown is listed; whatever else there is, is masked."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from typing import Any

MASK = "[masked]"

# Fields of share events and of Segment messages that say nothing of a person and open nothing.
HARMLESS = frozenset(
    {
        "event_type", "event_id", "wishlist_id", "share_id", "share_channel", "item_count", "timestamp", "expires_at",
        "hidden_item_ids", "snapshot_item_ids", "product_ids", "product_id", "wishlist_item_id",
        "recipient_wishlist_id", "created_wishlist", "item_visible", "platform", "variant", "is_bot",
        "is_authenticated", "country",
        "messageId", "type", "event", "receivedAt", "originalTimestamp", "sentAt", "wishlist_item_count",
        "account_type", "created_at", "name", "version", "locale",
    }
)  # fmt: skip

# Whatever a database adds to an error is data: "Key (share_token)=(…) already exists", "Failing row contains (…)".
_DETAIL = re.compile(r"(DETAIL:\s*).*?(?=\n\n(?:The above|During handling)|\Z)", re.DOTALL)
_PATTERNS = (
    re.compile(r"eyJ[\w-]+\.[\w-]+\.[\w-]*"),  # JWTs
    re.compile(r"\b(?=[0-9A-Za-z]*\d)[0-9A-Za-z]{22}\b"),  # share tokens
    re.compile(r"[\w.+-]+@[\w-]+\.[\w.-]+\w"),
    re.compile(r"\b\d{1,3}(?:\.\d{1,3}){3}\b"),
)
# Quoted values; what follows these words, or precedes "codec", is a name and no value.
_QUOTED = re.compile(
    r"""(?P<of>\b(?:constraint|column|relation|table|encoding)[ ])?
        (?<!\w)b?(?:'(?:[^'\\\n]|\\.)*'|"(?:[^"\\\n]|\\.)*")
        (?P<codec>[ ]codec\b)?""",
    re.VERBOSE,
)


def mask_text(text: str, secrets: Collection[str] = ()) -> str:
    """An error's message without values; *secrets* are words that must not stand in it either."""
    return _mask_quoted(_mask_known(text, secrets))


def mask_traceback(text: str, secrets: Collection[str] = ()) -> str:
    """A traceback without values: lines of code stay as they are, what the errors say is masked."""
    lines = _mask_known(text, secrets).split("\n")
    return "\n".join(line if line.startswith("  ") else _mask_quoted(line) for line in lines)


def mask_fields(value: Any, harmless: Collection[str] = HARMLESS, name: str = "") -> Any:
    """*value*, as JSON has it, with every leaf masked whose own name is not *harmless*. What is empty stays."""
    if isinstance(value, Mapping):
        return {str(key): mask_fields(one, harmless, str(key)) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [mask_fields(one, harmless, name) for one in value]
    if value is None or value == "":
        return value
    if name not in harmless:
        return MASK
    return mask_text(value) if isinstance(value, str) else value


def secrets_in(value: Any, name: str = "") -> set[str]:
    """The words of *value* that :func:`mask_fields` masks, as far as they are long enough to be looked for."""
    if isinstance(value, Mapping):
        return {word for key, one in value.items() for word in secrets_in(one, str(key))}
    if isinstance(value, list | tuple):
        return {word for one in value for word in secrets_in(one, name)}
    return {value} if isinstance(value, str) and name not in HARMLESS and len(value) >= 4 else set()


def _mask_quoted(text: str) -> str:
    return _QUOTED.sub(lambda found: found[0] if found["of"] or found["codec"] else f"'{MASK}'", text)


def _mask_known(text: str, secrets: Collection[str]) -> str:
    text = _DETAIL.sub(rf"\g<1>{MASK}", text)
    for word in sorted(secrets, key=len, reverse=True):
        text = text.replace(word, MASK)
    for pattern in _PATTERNS:
        text = pattern.sub(MASK, text)
    return text
