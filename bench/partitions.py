"""Whether a query on a view with a filter on ``event_date`` reads only those days of the tables beneath.

BigQuery hands a filter down to a table's scan where nothing in between could change by it ("Query partitioned tables"):
the column goes through as it is, is one of the keys of every grouping and of every window, and nothing limits rows.
"""

from __future__ import annotations

import sqlglot
from sqlglot import exp

from ops.warehouse import TABLES, View, views

COLUMN = "event_date"
# What is asked over the whole life of shares, products or people reads all days.
ALL_TIME = frozenset(
    {
        "items_added_by_share", "productive_shares_per_user", "products", "revocation_daily", "share_link_lifespan",
        "top_shared_products", "users", "users_by_country", "viral_coefficient",
    }
)  # fmt: skip


def parse(view: View) -> exp.Expr:
    """The view's query in BigQuery's grammar; raises :class:`sqlglot.ParseError`."""
    return sqlglot.parse_one(view.query("d"), dialect="bigquery")


def obstacles(view: View) -> list[str]:
    """What keeps a filter on ``event_date`` from the scans beneath *view*; nothing where it gets there."""
    known = {one.name: parse(one) for one in views()}
    return list(_obstacles(known[view.name], known))


def _obstacles(query: exp.Expr, known: dict[str, exp.Expr]) -> list[str]:
    if isinstance(query, exp.Union):
        return [*_obstacles(query.left, _with_ctes(query, known)), *_obstacles(query.right, _with_ctes(query, known))]
    assert isinstance(query, exp.Select)
    scope, found = _with_ctes(query, known), []
    passes = [one for one in query.selects if one.is_star or (isinstance(one, exp.Column) and one.name == COLUMN)]
    if not passes:
        found.append(f"{COLUMN} is computed in: {query.sql(dialect='bigquery')[:60]}")
    if query.args.get("limit"):
        found.append("rows are limited")
    group = query.args.get("group")
    if group is not None and not _has_column(group.expressions):
        found.append(f"grouped by {', '.join(key.sql() for key in group.expressions)}")
    for window in query.find_all(exp.Window):
        if window.find_ancestor(exp.Select) is query and not _has_column(window.args.get("partition_by") or []):
            found.append(f"a window over {window.sql(dialect='bigquery')[:60]}")
    sources = [query.args["from_"].this, *(join.this for join in query.args.get("joins") or [])]
    for source in sources:
        if isinstance(source, exp.Table) and source.name in scope and source.name != "users_by_country":
            found += _obstacles(scope[source.name], scope)
        elif isinstance(source, exp.Table) and source.name in TABLES and TABLES[source.name].partition is None:
            found.append(f"{source.name} has no days")
    return found


def _with_ctes(query: exp.Expr, known: dict[str, exp.Expr]) -> dict[str, exp.Expr]:
    clause = query.args.get("with_")
    return {**known, **({cte.alias: cte.this for cte in clause.expressions} if clause else {})}


def _has_column(keys: list[exp.Expr]) -> bool:
    return any(isinstance(key, exp.Column) and key.name == COLUMN for key in keys)
