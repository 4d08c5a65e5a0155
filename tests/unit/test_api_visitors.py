"""What a request says about who reads."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import UUID

import pytest
from fastapi import Request
from hypothesis import given
from hypothesis import strategies as st

from api.addresses import AddressBook
from api.visitors import is_bot, is_bot_of_api, visitor_hash, visitor_of
from config.settings import ApiSettings

SETTINGS = ApiSettings()
CHROME = "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) Chrome/117.0"
IPHONE = "Mozilla/5.0 (iPhone; CPU iPhone OS 17_0 like Mac OS X) AppleWebKit/605.1.15 Mobile/15E148 Safari/604.1"


def _request(peer: str = "127.0.0.1", **headers: str) -> Request:
    raw = [(name.replace("_", "-").encode(), value.encode("latin-1")) for name, value in headers.items()]
    return Request({"type": "http", "client": (peer, 1), "headers": raw})


@pytest.mark.parametrize(
    "agent",
    [
        "WhatsApp/2.23.20 (iPhone; iOS 17.0)",
        "facebookexternalhit/1.1",
        "Slackbot-LinkExpanding 1.0",
        "TelegramBot (like TwitterBot)",
        "Snapchat URL Preview Service; bot",
        "Bluesky Cardyb/1.1",
        "Googlebot/2.1 (+http://www.google.com/bot.html)",
    ],
)
def test_preview_fetchers_and_crawlers_are_bots_everywhere(agent: str) -> None:
    assert is_bot(agent)
    assert is_bot_of_api(agent)


AGENTS: dict[str, dict[str, list[str]]] = json.loads((Path(__file__).parent / "data/user_agents.json").read_text())


def _agents(kind: str) -> list[str]:
    return [agent for agents in AGENTS[kind].values() for agent in agents]


def test_the_table_is_large_enough() -> None:
    assert len(_agents("people")) + len(_agents("programs")) >= 120


@pytest.mark.parametrize("agent", _agents("people"))
def test_browsers_of_apps_are_people(agent: str) -> None:
    visitor = visitor_of(_request(user_agent=agent), SETTINGS)
    assert not is_bot(visitor.user_agent)
    assert not is_bot_of_api(visitor.user_agent)


@pytest.mark.parametrize("agent", _agents("programs"))
def test_fetchers_of_the_same_companies_are_not(agent: str) -> None:
    visitor = visitor_of(_request(user_agent=agent), SETTINGS)
    assert is_bot(visitor.user_agent)
    assert is_bot_of_api(visitor.user_agent)


@pytest.mark.parametrize("code", ["US", "DE", "GB", "XK"])
def test_countries(code: str) -> None:
    assert visitor_of(_request(cf_ipcountry=code), SETTINGS).country == code


@pytest.mark.parametrize(
    "code", ["XX", "T1", "ZZ", "AA", "QO", "UK", "EU", "us", "Us", "US\n", "US ", "USA", "U", "", "\xdc\xdc", "U\0"]
)
def test_what_is_no_country_is_unknown(code: str) -> None:
    assert visitor_of(_request(cf_ipcountry=code), SETTINGS).country == ""


@pytest.mark.parametrize("agent", [CHROME, IPHONE])
def test_browsers_are_people(agent: str) -> None:
    assert not is_bot(agent)
    assert not is_bot_of_api(agent)


@pytest.mark.parametrize("agent", ["okhttp/4.12.0", "python-httpx/0.28", ""])
def test_http_libraries_are_bots_on_the_page_and_apps_on_the_json(agent: str) -> None:
    assert is_bot(agent)
    assert not is_bot_of_api(agent)


def test_forwarded_addresses_are_believed_behind_proxies_only() -> None:
    book = AddressBook("127.0.0.0/8, 10.0.0.0/8")
    assert book.address_of(_request(x_forwarded_for="203.0.113.55")) == "203.0.113.55"
    assert book.address_of(_request(x_forwarded_for="6.6.6.6, 203.0.113.55, 10.1.2.3")) == "203.0.113.55"
    assert book.address_of(_request(peer="198.51.100.1", x_forwarded_for="6.6.6.6")) == "198.51.100.1"
    assert AddressBook("").address_of(_request(x_forwarded_for="6.6.6.6")) == "127.0.0.1"


def test_an_ipv6_client_is_its_network() -> None:
    book = AddressBook("127.0.0.0/8")
    seen = {book.address_of(_request(x_forwarded_for=f"2001:db8:1:2::{n}")) for n in range(1, 9)}
    assert seen == {"2001:db8:1:2::/64"}
    assert book.address_of(_request(x_forwarded_for="::ffff:203.0.113.55")) == "203.0.113.55"


def test_bad_proxies_stop_the_process() -> None:
    with pytest.raises(ValueError):
        AddressBook("everyone")


@given(st.text(st.characters(max_codepoint=255)), st.text(st.characters(max_codepoint=255)))
def test_any_header_is_survived(text: str, referer: str) -> None:
    request = _request(x_forwarded_for=text, user_agent=text, referer=referer, cf_ipcountry=text)
    AddressBook("127.0.0.0/8").address_of(request)
    visitor = visitor_of(request, SETTINGS)
    assert visitor.country == "" or (len(visitor.country) == 2 and visitor.country.isupper())
    is_bot(visitor.user_agent)


def test_referrers_lose_their_paths() -> None:
    visitor = visitor_of(_request(referer="https://mail.example.com/inbox/robin?id=1"), SETTINGS)
    assert visitor.referrer == "https://mail.example.com"


def test_a_visitor_has_another_name_on_another_day_and_share() -> None:
    share, other = UUID(int=1), UUID(int=2)
    now = datetime(2025, 9, 16, 12, tzinfo=UTC)
    name = visitor_hash(SETTINGS, share, "someone", now)
    assert visitor_hash(SETTINGS, share, "someone", now + timedelta(hours=11)) == name
    assert visitor_hash(SETTINGS, share, "someone", now + timedelta(days=1)) != name
    assert visitor_hash(SETTINGS, other, "someone", now) != name
    assert "someone" not in name
