"""What a request says about who reads: enough to count, nothing that names a person."""

from __future__ import annotations

import hashlib
import hmac
import ipaddress
import re
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from urllib.parse import urlsplit
from uuid import UUID

from crawleruseragents import CRAWLER_USER_AGENTS_DATA, is_crawler, matching_crawlers
from fastapi import Request

from config.settings import ApiSettings

_COUNTRY = re.compile(r"[A-Z]{2}")
_VARIANTS = frozenset({"control", "variant-a", "variant-b"})
# Fetchers of link previews that the list above does not know, or knows under another spelling.
_PREVIEW_FETCHERS = re.compile(
    r"whatsapp|telegrambot|facebookexternalhit|facebot|twitterbot|slackbot|slack-imgproxy|discordbot|linkedinbot"
    r"|skypeuripreview|viber|kakaotalk-scrap|url preview|link ?preview|pinterestbot|cardyb|embedly|iframely|snapchat",
    re.IGNORECASE,
)
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
    country = headers.get(settings.country_header, "")
    variant = headers.get("x-experiment-variant", "")
    return Visitor(
        user_agent=agent,
        referrer=_origin(headers.get("referer", "")),
        country=country if _COUNTRY.fullmatch(country) else "",
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
    return not user_agent or bool(is_crawler(user_agent)) or bool(_PREVIEW_FETCHERS.search(user_agent))


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


class AddressBook:
    """Finds the address that limits count: X-Forwarded-For is believed behind configured proxies only."""

    def __init__(self, trusted_proxies: str) -> None:
        """*trusted_proxies*: comma-separated networks; raises :class:`ValueError` for anything else."""
        self._trusted = [ipaddress.ip_network(text.strip()) for text in trusted_proxies.split(",") if text.strip()]

    def address_of(self, request: Request) -> str:
        """The nearest address that is no proxy of ours; an IPv6 client is its /64 network."""
        address = _parse(request.client.host if request.client else "")
        forwarded = ",".join(request.headers.getlist("x-forwarded-for")).split(",")
        while address is not None and self._is_trusted(address) and forwarded:
            nearer = _parse(forwarded.pop().strip())
            if nearer is None:
                break
            address = nearer
        if address is None:
            return "unknown"
        return str(ipaddress.ip_network((address, 64), strict=False)) if address.version == 6 else str(address)

    def _is_trusted(self, address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> bool:
        return any(address.version == network.version and address in network for network in self._trusted)


def _parse(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return None
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return mapped or address
