"""What the routes work with: built once in :mod:`api.app`, handed to each request."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from typing import Annotated

from fastapi import Depends, Request

from api.addresses import AddressBook
from api.auth import Authenticator
from api.breaker import BreakerView
from api.cache import ShareCache
from api.database import Database
from api.idempotency import Plans
from api.limits import Limit, Limiter
from api.messages import MessageBox
from api.pictures import Pictures
from api.publisher import Publisher
from api.reads import Opened, ShareReader
from api.redis_gate import RedisGate
from clients.cdn import CdnPurge, addresses_of, picture_url, share_url, version_of
from clients.faults import Unavailable
from clients.objects import ObjectStore
from clients.periodic import JobBoard
from clients.producer import EventProducer
from clients.unsubscribe import UnsubscribeLinks
from config.settings import ApiSettings, WebhookSettings

# What is longer is no token; it is cut so that nobody has Redis look up whole books.
_LONGEST_TOKEN = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class Services:
    """The parts of one API process."""

    settings: ApiSettings
    db: Database
    gate: RedisGate
    cache: ShareCache
    reader: ShareReader
    publisher: Publisher
    producer: EventProducer
    segment_keys: tuple[str, ...]
    limiter: Limiter
    share_limit: Limit
    lookup_limit: Limit
    preview_limit: Limit
    view_limit: Limit
    authenticator: Authenticator
    addresses: AddressBook
    plans: Plans
    store: ObjectStore
    pictures: Pictures
    breaker: BreakerView
    messages: MessageBox
    cdn: CdnPurge
    unsubscribe: UnsubscribeLinks
    webhooks: WebhookSettings
    board: JobBoard

    async def open_public(self, token: str, request: Request, limit: Limit, *, recent: bool = False) -> Opened:
        """The share under *token* for whoever asks, counted against *limit* of their address.

        *recent*: as it was up to a second ago will do.
        """
        address = self.addresses.address_of(request)
        held = await self.limiter.hit_and_read(limit, address, ShareCache.key_of(token[:_LONGEST_TOKEN]))
        return await (self.reader.open_recent if recent else self.reader.open)(token, held)

    def share_url(self, token: str) -> str:
        """The link that people send each other."""
        return share_url(self.settings, token)

    def picture_url(self, token: str, version: str | None = None) -> str:
        """The stable address of a share's preview picture; *version* as :func:`clients.cdn.version_of` says."""
        if self.settings.static_previews:
            return self.generic_picture_url
        return picture_url(self.settings, token, version)

    async def give_picture(self, token: str, content_hash: str | None) -> str:
        """The address of a share's picture for the page, kept for :meth:`purge_share` where Redis answers."""
        if content_hash is None:
            return self.picture_url(token)
        version = version_of(content_hash)
        with contextlib.suppress(Unavailable):
            await self.cache.keep_version(token, version)
        return self.picture_url(token, version)

    async def purge_share(self, token: str) -> None:
        """Have the CDN forget what it holds of a share, by every address that was given out."""
        if not self.cdn.is_told:
            return
        versions: set[str] = set()
        with contextlib.suppress(Unavailable):
            versions |= await self.cache.versions(token)
        with contextlib.suppress(Unavailable):
            content: str | None = await self.db.value("SELECT content_hash FROM previews WHERE share_token = $1", token)
            versions |= {version_of(content)} if content else set()
        self.cdn.purge(*addresses_of(self.settings, token, versions))

    @property
    def generic_picture_url(self) -> str:
        """The picture of shares whose own cannot be made (spec, "Fallback behavior")."""
        return f"{self.settings.cdn_url}/social/default/wishlist-share-preview.png"


async def services_of(request: Request) -> Services:
    """Dependency: this process's parts."""
    services: Services = request.app.state.services
    return services


Api = Annotated[Services, Depends(services_of)]
