"""A purge names every address of a share's picture that a page has ever given out."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import cast

import httpx
import pytest

from schemas.ids import share_id_for
from tests.integration.test_purge import hook
from tests.lab import Lab, eventually, open_lab
from tests.lab_api import open_api

LIST = "/api/v2/wishlists/wl_8a2b3c4d5e6f"
_DRAWN = """
INSERT INTO previews (share_id, share_token, wishlist_id, state, content_hash, due_at, rendered_at)
SELECT $1, $2, id, 'done', $3, now(), now() FROM wishlists WHERE public_id = 'wl_8a2b3c4d5e6f'
ON CONFLICT (share_id) DO UPDATE SET content_hash = EXCLUDED.content_hash
"""
Act = Callable[[httpx.AsyncClient, str], Awaitable[httpx.Response]]


async def hide(api: httpx.AsyncClient, token: str) -> httpx.Response:
    return await api.put(f"{LIST}/shares/{token}/items/item_abc123", json={"visible": False})


async def revoke(api: httpx.AsyncClient, token: str) -> httpx.Response:
    return await api.delete(f"{LIST}/shares/{token}")


@pytest.mark.parametrize("act", [hide, revoke])
async def test_pictures_of_before_are_named_too(tmp_path: Path, act: Act) -> None:
    told: list[object] = []
    async with open_lab(tmp_path) as lab, hook([], told) as url, open_api(lab, API_PURGE_URL=url) as api:
        token = (await api.post(f"{LIST}/share", json={"channel": "copy_link"})).json()["share_token"]
        given = {
            await picture(lab, api, token, content) for content in (None, "sha256:" + "a" * 64, "sha256:" + "b" * 64)
        }
        assert len(given) == 3
        # Drawn since, and given out by another process that Redis has forgotten.
        await lab.pool.execute(_DRAWN, share_id_for(token), token, "sha256:" + "c" * 64)
        assert (await act(api, token)).is_success

        async def is_told() -> bool:
            return bool(told)

        await eventually(is_told, 30, "the hook is told")
        urls = set(cast(dict[str, list[str]], told[0])["urls"])
        page = next(url for url in urls if url.endswith(f"/wishlists/shared/{token}"))
        assert urls == given | {page, min(given, key=len) + "?v=cccccccccccc"}


async def picture(lab: Lab, api: httpx.AsyncClient, token: str, content: str | None) -> str:
    """The picture's address on the page once its content is *content*; the page itself is kept for a second."""
    if content is not None:
        await lab.pool.execute(_DRAWN, share_id_for(token), token, content)
    wanted = f"?v={content.removeprefix('sha256:')[:12]}" if content else "/preview.png"

    async def shown() -> str | None:
        page = (await api.get(f"/wishlists/shared/{token}")).text
        found = re.search(r'og:image" content="([^"]+)"', page)
        return found[1] if found and found[1].endswith(wanted) else None

    await eventually(shown, 30, f"the page shows {wanted}")
    return cast(str, await shown())
