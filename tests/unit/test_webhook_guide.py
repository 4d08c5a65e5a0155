"""The guide's receiver works as it stands, and what the guide says is so."""

from __future__ import annotations

import asyncio
import re
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import aclosing
from pathlib import Path
from uuid import UUID, uuid4

from starlette.requests import Request

from api import openapi
from api.visitors import visitor_of
from clients.webhook_call import WebhookCaller
from clients.webhooks import new_secret
from config.settings import ApiSettings, WebhookSettings
from notifications.webhook import TYPES

GUIDE = (Path(__file__).parents[2] / "docs" / "webhooks.md").read_text(encoding="utf-8")
BODY = '{"type": "share.viewed", "data": {"share_token": "a-token"}}'


def test_the_guides_receiver() -> None:
    [program] = re.findall(r"```python\n(.*?)```", GUIDE, re.DOTALL)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    secret, id = new_secret(), uuid4()
    receiver = subprocess.Popen(
        [sys.executable, "-c", program],
        env={"WEBHOOK_SECRET": secret, "PORT": str(port)},
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    try:
        _wait_for(port)
        statuses = asyncio.run(_call(port, id, [[new_secret()], [secret], [new_secret(), secret]]))
    finally:
        receiver.kill()
        said, _ = receiver.communicate()
    assert statuses == [401, 204, 204]
    assert said == "share.viewed a-token\n"


def test_the_guide_names_every_type_and_the_settings_figures() -> None:
    assert set(re.findall(r"^\| `(share\.\w+)` \|", GUIDE, re.MULTILINE)) == set(TYPES.values())
    settings = WebhookSettings()
    assert f"no answer within {settings.timeout_seconds:g} s" in GUIDE
    assert f"{settings.most_failures} failures in a row" in GUIDE
    assert f"within {settings.give_up_seconds / 86_400:g} days" in GUIDE
    assert f"more than {settings.latest_seconds / 3_600:g} hours" in GUIDE
    assert settings.longest_pause_seconds == 3_600, "the guide says an hour"


def test_guide_and_document_say_what_is_sent() -> None:
    assert set(openapi.webhooks()) == set(TYPES.values())
    event = openapi.WEBHOOK_SCHEMAS["WebhookEvent"]["properties"]
    assert event["type"]["enum"] == list(openapi.webhooks())
    platforms = openapi.WEBHOOK_SCHEMAS["WebhookData"]["properties"]["platform"]["enum"]
    assert set(re.findall(r'"platform": "(\w+)"', GUIDE)) <= set(platforms)
    assert {_platform_of(agent) for agent in ("", "Mozilla/5.0 (iPhone) Mobile", "Mozilla/5.0 (X11)")} == set(platforms)


def _platform_of(agent: str) -> str:
    request = Request({"type": "http", "headers": [(b"user-agent", agent.encode())]})
    return visitor_of(request, ApiSettings()).platform


async def _call(port: int, id: UUID, each: Sequence[Sequence[str]]) -> list[int | None]:
    async with aclosing(WebhookCaller(WebhookSettings(allow_private=True))) as caller:
        return [(await caller.call(f"http://127.0.0.1:{port}/", secrets, id, BODY)).status for secrets in each]


def _wait_for(port: int) -> None:
    give_up = time.monotonic() + 20
    while time.monotonic() < give_up:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.05)
    raise AssertionError("the guide's receiver does not listen")
