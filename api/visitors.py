"""What a request says about who reads: enough to count, nothing that names a person."""

from __future__ import annotations

import hashlib
import hmac
import re
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from urllib.parse import urlsplit
from uuid import UUID

from crawleruseragents import CRAWLER_USER_AGENTS_DATA, is_crawler, matching_crawlers
from fastapi import Request

from config.settings import ApiSettings
from schemas.countries import known_country

_VARIANTS = frozenset({"control", "variant-a", "variant-b"})
# Fetchers of link previews that the list of crawlers does not know, or knows under another spelling.
_PREVIEW_FETCHERS = re.compile(
    r"telegrambot|facebookexternalhit|facebot|twitterbot|slackbot|slack-imgproxy|discordbot|linkedinbot|line-poker"
    r"|skypeuripreview|kakaotalk-scrap|url ?preview|link ?preview|pinterestbot|cardyb|embedly|iframely|blueno"
    r"|zalobot|vercel|novaact"
    # Whoever names a page about itself is a program, as is whoever calls itself one; CUBOT makes telephones.
    r"|\+https?://|feedfetcher|\bbot\b|(?<!cu)bot/[0-9]",
    re.IGNORECASE,
)
# Apps whose link-preview fetchers name only the app, as their in-app browsers do beside the engine.
_APPS = re.compile(r"whatsapp|viber|snapchat|metaiab|notion/|sogoumse|sogoumobile", re.IGNORECASE)
# The engine of a browser on a device that people hold; a fetcher in its guise says so in brackets or by an address.
_ENGINE = re.compile(
    r"Mozilla/5\.0 \((?:iPhone|iPad|iPod|Linux; (?:U; )?Android|Macintosh|Windows NT|X11).*AppleWebKit"
)
_CONFESSION = re.compile(r"compatible;|\bbot\b|\w+bot[/; )]|spider|crawl|https?://|\+mailto:", re.IGNORECASE)
_USER_AGENT_CHARACTERS = 256


@dataclass(frozen=True, slots=True)
class Visitor:
    """One reader's request. ``fingerprint`` goes into the daily keyed hash only."""

    user_agent: str
    referrer: str
    country: str
    platform: str
    variant: str | None
    fingerprint: str


def visitor_of(request: Request, settings: ApiSettings) -> Visitor:
    """What *request* says of its sender."""
    headers = request.headers
    agent = headers.get("user-agent", "")[:_USER_AGENT_CHARACTERS].replace("\0", "")
    variant = headers.get("x-experiment-variant", "")
    return Visitor(
        user_agent=agent,
        referrer=_origin(headers.get("referer", "")),
        country=known_country(headers.get(settings.country_header, "")),
        platform=("mobile" if "Mobi" in agent or "iPhone" in agent else "web") if agent else "unknown",
        variant=variant if variant in _VARIANTS else None,
        fingerprint=f"{agent}|{headers.get('accept-language', '')}",
    )


def visitor_hash(settings: ApiSettings, share_id: UUID, who: str, now: datetime) -> str:
    """A name for *who* that means nothing for another share, on another day (UTC) or without the key."""
    day = now.astimezone(UTC).date().isoformat()
    text = f"{day}|{share_id}|{who}".encode()
    return hmac.new(settings.visitor_key.encode(), text, hashlib.sha256).hexdigest()[:32]


@lru_cache(maxsize=4096)
def is_bot(user_agent: str) -> bool:
    """Whether a crawler, a link-preview fetcher or a program of any kind fetched the page."""
    if not user_agent or _PREVIEW_FETCHERS.search(user_agent):
        return True
    named_by_app = _APPS.search(user_agent) is not None
    if named_by_app and _ENGINE.match(user_agent) and not _CONFESSION.search(user_agent):
        return bool(is_crawler(_APPS.sub("", user_agent)))
    return named_by_app or bool(is_crawler(user_agent))


@lru_cache(maxsize=4096)
def is_bot_of_api(user_agent: str) -> bool:
    """As :func:`is_bot`, for the JSON, which the shop's own apps read through ordinary HTTP libraries."""
    if not user_agent or not is_bot(user_agent):
        return False
    crawlers = [CRAWLER_USER_AGENTS_DATA[index] for index in matching_crawlers(user_agent)]
    return not crawlers or any(crawler["tags"] != ["http-library"] for crawler in crawlers)


def _origin(referer: str) -> str:
    """The referring site; paths may name people."""
    try:
        parts = urlsplit(referer)
    except ValueError:
        return ""
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        return ""
    return f"{parts.scheme}://{parts.hostname}"[:_USER_AGENT_CHARACTERS]
