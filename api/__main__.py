"""``python -m api``: serve the API with uvicorn on uvloop."""

from __future__ import annotations

import sys

import uvicorn

from api.app import Settings, make_app
from clients import logs
from config.settings import LogSettings, load


def main() -> None:
    """Serve until a signal; leave with exit code 2 where the configuration is wrong."""
    logs.configure("api", load(LogSettings).level)
    settings = Settings()
    try:
        app = make_app(settings)
    except (ValueError, OSError) as error:
        print(f"configuration: {error}", file=sys.stderr)
        sys.exit(2)
    uvicorn.run(
        app,
        host=settings.api.host,
        port=settings.api.port,
        loop="uvloop",
        log_config=None,
        access_log=False,
        proxy_headers=False,
        server_header=False,
        timeout_graceful_shutdown=10,
    )


if __name__ == "__main__":
    main()
