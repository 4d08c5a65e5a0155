"""Agent ``push``: whoever's shared list an item is added from hears of it at once, on each of their devices."""

from __future__ import annotations

import asyncio
import sys

from clients.apns import ApnsGateway
from clients.fcm import FcmGateway
from clients.logs import get_logger
from clients.postgres import Database
from clients.push_gateway import PushGateway
from config.settings import ApiSettings, ApnsSettings, FcmSettings, PostgresSettings, PushSettings, load
from sinks.push import GROUP, PushQueue
from streams.application import share_event_agent
from streams.push_announce import PushAnnouncer
from streams.push_relay import PushRelay

app = share_event_agent("push", GROUP, PushQueue)
database = Database(load(PostgresSettings))
settings = load(PushSettings)


@app.task  # type: ignore[untyped-decorator]
async def announce() -> None:
    """Makes deliveries of what owners are to be told."""
    await PushAnnouncer(database).run(settings.check_seconds)


@app.task  # type: ignore[untyped-decorator]
async def relay() -> None:
    """Sends what is to be delivered."""
    lists_url = f"{load(ApiSettings).public_url}/wishlists"
    async with asyncio.TaskGroup() as group:
        for platform, gateway in _gateways.items():
            group.create_task(PushRelay(database, settings, platform, gateway, lists_url).run())


def _open_gateways() -> dict[str, PushGateway]:
    """The services that there are credentials for; leaves with exit code 2 where these are no good."""
    fcm, apns = load(FcmSettings), load(ApnsSettings)
    gateways: dict[str, PushGateway] = {}
    try:
        if fcm.service_account_file:
            gateways["android"] = FcmGateway(fcm)
        if apns.key_file:
            gateways["ios"] = ApnsGateway(apns)
    except ValueError as error:
        print(f"configuration: {error}", file=sys.stderr)
        sys.exit(2)
    for platform in {"android", "ios"} - gateways.keys():
        get_logger().warning("no pushes to devices of this platform: no credentials", platform=platform)
    return gateways


_gateways = _open_gateways()
