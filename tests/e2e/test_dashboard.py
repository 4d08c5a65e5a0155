"""The dashboard: who may see it, and what a browser makes of it."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from playwright.sync_api import Browser, Page, sync_playwright

from tests.e2e.conftest import ROOT, RUN, Product, chromium, eventually

TILES = ("funnel", "engagement", "viral", "channels", "countries", "products")


@pytest.fixture(scope="module")
def page_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The page as the operator's command writes it, after some simulated days."""
    out = tmp_path_factory.mktemp("dashboard") / "dashboard.html"
    subprocess.run(
        [RUN, "wishlist", "simulate", "--events", "300", "--days", "7"], check=True, capture_output=True, cwd=ROOT
    )

    def shows_them() -> bool:
        done = subprocess.run(
            [RUN, "wishlist", "dashboard", "--out", str(out)], check=True, capture_output=True, text=True, cwd=ROOT
        )
        assert "made for light, dark and paper" in " ".join(done.stdout.split())
        return '"Web":' in out.read_text()

    eventually(shows_them, 120)
    return out


@pytest.fixture(scope="module")
def browser(product: Product) -> Iterator[Browser]:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium(), args=["--no-sandbox"])
        yield browser
        browser.close()


def opened(browser: Browser, page_file: Path, **options: Any) -> Page:
    """The page without any network; an error in it fails the test."""
    page = browser.new_page(**options)
    errors: list[str] = []
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.on("console", lambda message: errors.append(message.text) if message.type == "error" else None)
    page.context.set_offline(True)
    page.goto(page_file.as_uri())
    page.wait_for_selector("#countries svg path")
    assert not errors, errors
    return page


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1440, 390])
def test_every_tile_is_drawn_in_light_and_dark_wide_and_narrow(
    browser: Browser, page_file: Path, scheme: str, width: int
) -> None:
    page = opened(browser, page_file, color_scheme=scheme, viewport={"width": width, "height": 900})
    for tile in TILES:
        headline = page.locator(f"#{tile} .headline").inner_text()
        assert headline.endswith("."), headline
        assert page.locator(f"#{tile} svg path, #{tile} tbody tr").count() > 2, tile
    assert page.evaluate("document.documentElement.scrollWidth") <= width, "nothing sticks out"
    ground = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert (sum(json.loads(ground.replace("rgb(", "[").replace(")", "]"))) > 380) == (scheme == "light")
    page.close()


def test_a_breakdown_is_chosen_by_its_button(browser: Browser, page_file: Path) -> None:
    page = opened(browser, page_file, reduced_motion="reduce")
    whole = page.locator("#engagement svg").inner_html()
    page.locator("#engagement button", has_text="WhatsApp").click()
    page.wait_for_timeout(700)
    assert page.locator("#engagement svg").inner_html() != whole
    assert page.locator("#engagement button[aria-pressed=true]").inner_text() == "WhatsApp"
    funnel = page.locator("#funnel svg").text_content()
    page.locator("#funnel button", has_text="Mobile").click()
    page.wait_for_timeout(700)
    assert page.locator("#funnel svg").text_content() != funnel
    page.close()


def test_it_prints_on_paper(browser: Browser, page_file: Path, tmp_path: Path) -> None:
    page = opened(browser, page_file, color_scheme="dark")
    page.emulate_media(media="print")
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    assert not page.locator(".choice").first.is_visible()
    assert len(page.pdf(prefer_css_page_size=True, print_background=True)) > 20_000
    page.close()


def test_only_analysts_see_it_and_it_may_load_nothing(client: httpx.Client, product: Product) -> None:
    assert client.get("/dashboard").status_code == 401
    refused = client.get("/dashboard", headers=product.sign_in("user_maya"))
    assert refused.status_code == 403
    assert "analyst" in refused.json()["message"]
    assert client.get("/dashboard", headers={"Cookie": "access_token=nonsense"}).status_code == 401
    eventually(lambda: client.get("/dashboard", headers=product.sign_in("user_analyst")).status_code == 200, 120)
    shown = client.get("/dashboard", headers={"Cookie": f"access_token={product.jwt('user_analyst')}"})
    assert shown.status_code == 200
    assert "Wishlist Social — SPEC-2025-089" in shown.text
    assert shown.headers["content-security-policy"].startswith("default-src 'none'")
    assert "no-store" in shown.headers["cache-control"]
