"""Agent ``push``: whoever's shared list an item is added from hears of it at once, on each of their devices."""

from __future__ import annotations

import asyncio
import sys
from contextlib import AsyncExitStack

from clients.apns import ApnsGateway
from clients.fcm import FcmGateway
from clients.logs import get_logger
from clients.postgres import Database
from clients.push_gateway import PushGateway
from config.settings import ApiSettings, ApnsSettings, FcmSettings, PostgresSettings, PushSettings, load
from sinks.push import GROUP, PushQueue
from streams.application import share_event_agent
from streams.outbox.worker import OutboxWorker
from streams.pushes.announcing import AnnouncementOutbox
from streams.pushes.sending import DeliveryOutbox

app = share_event_agent("push", GROUP, PushQueue)
database = Database(load(PostgresSettings))
settings = load(PushSettings)


@app.job
async def announce() -> None:
    """Turns announcements into deliveries."""
    await OutboxWorker(AnnouncementOutbox(database, settings.check_seconds), database, app.board).run()


@app.job
async def send() -> None:
    """Sends deliveries to each platform's service."""
    lists_url = f"{load(ApiSettings).public_url}/wishlists"
    async with AsyncExitStack() as gateways, asyncio.TaskGroup() as group:
        for platform, gateway in _gateways.items():
            gateways.push_async_callback(gateway.close)
            outbox = DeliveryOutbox(database, settings, platform, gateway, lists_url)
            group.create_task(OutboxWorker(outbox, database, app.board).run())


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
