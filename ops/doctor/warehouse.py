"""BigQuery, what is on its way there, and the dashboard that is made of it."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence

from clients.faults import Unavailable
from config.settings import DashboardSettings, WarehouseSettings, load
from ops.doctor.finding import Check, Finding, Symptom, ago, well
from ops.doctor.pages import Page
from ops.doctor.surroundings import Away, Surroundings, aside

APPEND_SECONDS = 300.0

WAREHOUSE_AWAY = Symptom(
    name="warehouse-away",
    says="BigQuery does not answer",
    users="None of the shop's. Analysts see figures as old as the outage; the agents make up for it.",
    do="check BIGQUERY_PROJECT and the credentials, and Google's status; ./run up starts an emulator",
    over="The check warehouse is well, and the lag of analytics-pipeline-wishlist-social and -segment falls.",
    alerts=("wishlist-group-waiting", "wishlist-dashboard-old"),
)
APPENDS_OPEN = Symptom(
    name="appends-open",
    says="appends to BigQuery whose outcome is not known",
    users="None. The rows are there or will be, once each.",
    do="./run logs warehouse and ./run logs segment: whoever reads these partitions next asks BigQuery and settles "
    "them",
    over="The check warehouse is well.",
)
DASHBOARD_OLD = Symptom(
    name="dashboard-old",
    says="the dashboard is old",
    users="Analysts see the figures of that time.",
    do="./run logs dashboard; by hand: wishlist dashboard",
    over="The check dashboard is well.",
    alerts=("wishlist-dashboard-old",),
)


def judge_appends(open_appends: int, oldest: float) -> Finding:
    """Appends under way are normal; old ones are not."""
    if open_appends and oldest > APPEND_SECONDS:
        return APPENDS_OPEN.found(f"{open_appends}, the oldest {ago(oldest)} old")
    return well(f"BigQuery answers, {open_appends} appends under way")


def judge_dashboard(pages: Sequence[Page], every: float, now: float) -> Finding:
    """Whether it was made within twice its interval, counted from its maker's start where it never was.

    Raises :class:`Away` where its maker does not answer.
    """
    makers = [page for page in pages if page.name == "dashboard" and page.status is not None]
    if not makers:
        raise Away("the dashboard's maker", "DOCTOR_PROCESSES names none that answers")
    made = max(page.total("wishlist_dashboard_timestamp_seconds") for page in makers)
    since = made or max(page.total("process_start_time_seconds") for page in makers)
    age = now - since
    if age > 2 * every:
        return DASHBOARD_OLD.found(
            f"made {ago(age)} ago" if made else f"its maker has run for {ago(age)} without making it"
        )
    return well(f"made {ago(age)} ago" if made else "is about to be made")


async def _warehouse(around: Surroundings) -> Iterable[Finding]:
    # Loaded where they are wanted only: Google's libraries take a second.
    def ask() -> None:
        from clients.bigquery import Warehouse

        try:
            Warehouse(load(WarehouseSettings)).query("SELECT 1 AS one")
        except Unavailable as error:
            raise Away("BigQuery", error) from error

    await aside(ask)
    row = await around.row(
        "SELECT count(*) AS open, extract(epoch FROM now() - min(written_at))::float8 AS oldest FROM warehouse_appends"
    )
    return [judge_appends(row["open"], row["oldest"] or 0.0)]


async def _dashboard(around: Surroundings) -> Iterable[Finding]:
    return [judge_dashboard(await around.pages(), load(DashboardSettings).every_seconds, time.time())]


CHECKS = (
    Check(
        name="warehouse",
        at="whether BigQuery answers, and appends whose outcome is not known",
        look=_warehouse,
        away=WAREHOUSE_AWAY,
        symptoms=(APPENDS_OPEN,),
        seconds=20,
    ),
    Check(
        name="dashboard",
        at="when the dashboard was last made",
        look=_dashboard,
        symptoms=(DASHBOARD_OLD,),
        seconds=15,
    ),
)
