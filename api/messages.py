"""Owners' messages: encrypted under a key of the owner wherever they go, readable only where they are shown."""

from __future__ import annotations

import time
from collections import OrderedDict
from uuid import UUID

from cryptography.fernet import Fernet, InvalidToken

from api.database import Database

# A destroyed key is forgotten by every process within this time.
_REMEMBER_SECONDS = 60.0
_REMEMBERED_KEYS = 10_000

_KEY = "SELECT key FROM owner_keys WHERE owner_id = $1"
_KEY_OR_NEW = """
WITH made AS (INSERT INTO owner_keys (owner_id, key) VALUES ($1, $2) ON CONFLICT DO NOTHING RETURNING key)
SELECT key FROM made UNION ALL SELECT key FROM owner_keys WHERE owner_id = $1 LIMIT 1
"""


class MessageBox:
    """Seals and opens messages with Fernet (AES-128-CBC and HMAC-SHA256); keys are held for a minute."""

    def __init__(self, db: Database) -> None:
        self._db = db
        self._keys: OrderedDict[UUID, tuple[float, bytes]] = OrderedDict()

    async def seal(self, owner: UUID, message: str | None) -> str | None:
        """The message as it may travel; makes the owner's key where there is none."""
        if not message:
            return None
        key = self._held(owner)
        if key is None:
            key = self._hold(owner, bytes(await self._db.value(_KEY_OR_NEW, owner, Fernet.generate_key())))
        return Fernet(key).encrypt(message.encode()).decode("ascii")

    async def open(self, owner: UUID, sealed: str | None) -> str | None:
        """The message that was sealed; None where its key is gone, for ever."""
        if sealed is None:
            return None
        key = self._held(owner)
        if key is None:
            found = await self._db.value(_KEY, owner)
            if found is None:
                return None
            key = self._hold(owner, bytes(found))
        try:
            return Fernet(key).decrypt(sealed).decode()
        except InvalidToken:
            return None

    def _held(self, owner: UUID) -> bytes | None:
        until, key = self._keys.get(owner, (0.0, b""))
        return key if time.monotonic() < until else None

    def _hold(self, owner: UUID, key: bytes) -> bytes:
        self._keys[owner] = (time.monotonic() + _REMEMBER_SECONDS, key)
        self._keys.move_to_end(owner)
        if len(self._keys) > _REMEMBERED_KEYS:
            self._keys.popitem(last=False)
        return key
