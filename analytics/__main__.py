"""``python -m analytics``: makes the dashboard every hour and puts it where ``/dashboard`` finds it."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime

from clients import logs, metrics
from clients.faults import Unavailable
from config.settings import DashboardSettings, LogSettings, ObjectStoreSettings, WarehouseSettings, load

_RETRY_SECONDS = 60.0


async def _make_forever(settings: DashboardSettings) -> None:
    # On a machine that starts everything at once others are waited for, and the libraries below take seconds to load.
    await asyncio.sleep(settings.first_after_seconds)
    from analytics import dashboard
    from analytics.report import Span, read
    from clients.bigquery import Warehouse
    from clients.objects import DASHBOARD, ObjectStore

    warehouse, store = Warehouse(load(WarehouseSettings)), ObjectStore(load(ObjectStoreSettings))
    while True:
        try:
            report = await asyncio.to_thread(read, warehouse, Span.of(datetime.now(UTC).date(), settings.days))
            page = await asyncio.to_thread(dashboard.render, report)
            await store.put(DASHBOARD, page.encode(), "text/html; charset=utf-8", "private, no-store")
        except Unavailable as error:
            logs.get_logger().warning("the dashboard waits", error=str(error))
            await asyncio.sleep(_RETRY_SECONDS)
            continue
        metrics.DASHBOARD_MADE.set_to_current_time()
        logs.get_logger().info("dashboard made", shares=report.totals.shares, views=report.totals.views)
        await asyncio.sleep(settings.every_seconds)


def main() -> None:
    """Run until SIGTERM."""
    logs.configure("dashboard", load(LogSettings).level)
    settings = load(DashboardSettings)
    metrics.serve(settings.port)
    asyncio.run(_make_forever(settings))


if __name__ == "__main__":
    main()
