"""What the bucket holds before the first share: its lifecycle rules, the card's template, the generic picture."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

from cards.template import FALLBACK_PICTURE, TEMPLATES
from clients.objects import ObjectStore
from config.lifecycle import BUCKET_RULES

# The spec's paths ("Directory structure").
CONTENTS: dict[str, tuple[Path, str]] = {
    "social/templates/wishlist-share.html": (TEMPLATES / "wishlist-share.html", "text/html; charset=utf-8"),
    "social/default/wishlist-share-preview.png": (FALLBACK_PICTURE, "image/png"),
}
_CACHE_CONTROL = "public, max-age=86400"


async def prepare(store: ObjectStore) -> AsyncIterator[str]:
    """See to all of it, and say what was not there yet. Raises :class:`clients.faults.Unavailable`.

    The bucket is private by being left as S3 and R2 make it: nothing here grants anybody anything.
    """
    if await store.ensure_bucket():
        yield f"made bucket {store.bucket}"
    if await store.set_lifecycle(BUCKET_RULES):
        yield f"set {len(BUCKET_RULES)} lifecycle rules"
    for key, (file, content_type) in CONTENTS.items():
        body = file.read_bytes()
        if await store.get(key) != body:
            await store.put(key, body, content_type, _CACHE_CONTROL)
            yield f"placed {key}"
