"""The views' SQL, held against BigQuery's grammar and the tables' columns, without BigQuery."""

from __future__ import annotations

import json
from typing import Any

import pytest
import sqlglot
from sqlglot import exp
from sqlglot.optimizer.qualify import qualify

from bench import partitions
from clients.bigquery import SCHEMAS
from ops import warehouse
from ops.warehouse import View, views

NAMES = [view.name for view in views()]


def columns() -> dict[str, dict[str, str]]:
    """Columns of every table, and of every view as its query has them."""
    known: dict[str, dict[str, str]] = {
        name: {column["name"]: column["type"] for column in json.loads((SCHEMAS / f"{name}.json").read_text())}
        for name in warehouse.TABLES
    }
    for view in views():
        query = sqlglot.parse_one(
            view.query("d").replace("`d.", "`"), dialect="bigquery", error_level=sqlglot.ErrorLevel.RAISE
        )
        whole: Any = qualify(query, schema=dict[str, object](known), dialect="bigquery", validate_qualify_columns=True)
        known[view.name] = dict.fromkeys(whole.named_selects, "STRING")
    return known


def test_every_view_is_bigquerys_grammar_and_names_columns_that_there_are() -> None:
    known = columns()
    assert known["share_creation_daily"].keys() == {"event_date", "shares_created", "sharing_users", "shares_per_user"}
    assert known.keys() == {*warehouse.TABLES, *NAMES}


@pytest.mark.parametrize("view", views(), ids=lambda view: view.name)
def test_a_view_by_day_reads_only_the_days_that_are_asked_for(view: View) -> None:
    found = partitions.obstacles(view)
    assert bool(found) == (view.name in partitions.ALL_TIME), found


@pytest.mark.parametrize(
    ("query", "obstacle"),
    [
        ("SELECT event_date, COUNT(*) AS n FROM `{dataset}.share_events` GROUP BY share_id", "grouped by"),
        ("SELECT *, SUM(item_count) OVER (PARTITION BY share_id) AS n FROM `{dataset}.share_events`", "a window"),
        ("SELECT MIN(event_date) AS event_date FROM `{dataset}.share_events` GROUP BY event_date", "is computed"),
        ("SELECT * FROM `{dataset}.share_events` LIMIT 5", "limited"),
    ],
)
def test_what_keeps_a_filter_from_the_days_is_found(query: str, obstacle: str, monkeypatch: pytest.MonkeyPatch) -> None:
    bad = View("bad", query, is_materialized=False)
    monkeypatch.setattr(partitions, "views", lambda: [*views(), bad])
    assert obstacle in partitions.obstacles(bad)[0]


def test_every_view_is_made_after_those_that_it_reads() -> None:
    made = set(warehouse.TABLES)
    for view in views():
        read = {table.name for table in partitions.parse(view).find_all(exp.Table)}
        inner = {cte.alias for cte in partitions.parse(view).find_all(exp.CTE)}
        unnested = {"product_ids"}
        assert read - inner - unnested <= made, view.name
        made.add(view.name)


def test_every_column_is_described() -> None:
    for name in warehouse.TABLES:
        for column in json.loads((SCHEMAS / f"{name}.json").read_text()):
            assert len(column["description"]) > 10, (name, column["name"])
