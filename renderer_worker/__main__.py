"""``python -m renderer_worker``: svc-og-renderer on RENDERER_HOST and RENDERER_PORT."""

from __future__ import annotations

import uvicorn

from clients import logs
from clients.objects import ObjectStore
from config.settings import ApiSettings, LogSettings, ObjectStoreSettings, RendererSettings, load
from renderer_worker.app import create_app


def main() -> None:
    """Serve until SIGTERM; cards under way are finished first."""
    logs.configure("renderer", load(LogSettings).level)
    settings = load(RendererSettings)
    app = create_app(settings, ObjectStore(load(ObjectStoreSettings)), load(ApiSettings).cdn_url)
    uvicorn.run(
        app, host=settings.host, port=settings.port, log_config=None, timeout_graceful_shutdown=10, server_header=False
    )


if __name__ == "__main__":
    main()
