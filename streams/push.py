"""Agent ``push``: whoever's shared list an item is added from hears of it at once, on each of their devices."""

from __future__ import annotations

import asyncio

from clients.apns import ApnsGateway
from clients.fcm import FcmGateway

from clients.postgres import Database
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
    gateways = {"android": FcmGateway(load(FcmSettings)), "ios": ApnsGateway(load(ApnsSettings))}
    lists_url = f"{load(ApiSettings).public_url}/wishlists"
    async with asyncio.TaskGroup() as group:
        for platform, gateway in gateways.items():
            group.create_task(PushRelay(database, settings, platform, gateway, lists_url).run())
