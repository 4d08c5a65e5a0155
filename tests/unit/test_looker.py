"""Looker's model and dashboard against the BigQuery views that they read: every name in them is a name of something."""

from __future__ import annotations

import json
import re
from graphlib import TopologicalSorter
from pathlib import Path
from typing import Any

import lkml
import pytest
import yaml
from sqlglot import exp, parse_one
from sqlglot.optimizer.qualify import qualify
from sqlglot.schema import MappingSchema

SCHEMAS = Path(__file__).parents[2] / "schemas"
LOOKER = SCHEMAS / "looker"
BIGQUERY = SCHEMAS / "bigquery"
MODEL = "wishlist_social"
DASHBOARD = LOOKER / "dashboards" / f"{MODEL}.dashboard.lookml"
TITLE = "Wishlist Social — SPEC-2025-089"
TILES = {
    "Share Creation Funnel": {"looker_funnel"},
    "Share Engagement Over Time": {"looker_line"},
    "Viral Coefficient": {"single_value"},
    "Share Channel Distribution": {"looker_pie"},
    "Top Shared Products": {"looker_grid"},
    "Geographic Distribution": {"looker_map", "looker_geo_choropleth"},
}
# BigQuery views that the spec's tiles and metrics are read from.
REPORTED = {
    "geographic_distribution_daily",
    "items_added_by_share",
    "items_added_daily",
    "productive_shares_per_user",
    "revocation_daily",
    "share_channel_distribution",
    "share_conversion_daily",
    "share_creation_daily",
    "share_engagement_daily",
    "share_funnel_daily",
    "share_link_lifespan",
    "shared_products_daily",
    "top_shared_products",
    "views_per_100k_users",
    "viral_coefficient",
    "viral_coefficient_daily",
}
VIEW_FILES = sorted((LOOKER / "views").glob("*.view.lkml"))
KINDS = ("dimensions", "dimension_groups", "measures", "filters", "parameters")
TABLE_COLUMN = re.compile(r"\$\{TABLE\}\.(\w+)")
# What LookML refers to a field by, in SQL and in Liquid. ${TABLE} stands for the view's table.
REFERENCE = re.compile(r"\$\{(?!TABLE\})([\w.]+)\}")
LIQUID = re.compile(r"\{% (?:if|elsif) ([\w.]+)\._in_query|\{% (?:date_start|date_end|condition|parameter) ([\w.]+)")
CONSTANT = re.compile(r"@\{(\w+)\}")
ONLY_ROW = re.compile(r"IF\(COUNT\(\*\) = 1, MAX\(\$\{\w+\}\), NULL\)")
# A sum or a mean of rates, or of counts of distinct things, is not the rate or the count of the whole.
ADDITIVE = {"sum", "average", "median", "average_distinct", "median_distinct"}
ONE_ROW = {"viral_coefficient", "productive_shares_per_user"}
NOT_ADDITIVE = {
    "completion_rate",
    "conversion_rate",
    "initiation_rate",
    "items_added_per_share",
    "part_of_day",
    "recipients",
    "revocation_rate",
    "shares_per_user",
    "shares_with_adds",
    "shares_with_views",
    "sharing_users",
    "unique_viewers",
    "users",
    "views_per_100k_users",
    "viral_coefficient",
}


def bigquery_columns() -> dict[str, list[str]]:
    """The output columns of every BigQuery view, each worked out after those that it reads."""
    schema = MappingSchema(dialect="bigquery")
    for file in BIGQUERY.glob("*.json"):
        types = {one["name"]: one["type"] for one in json.loads(file.read_text(encoding="utf-8"))}
        schema.add_table(f"d.{file.stem}", types)
    queries = {
        file.stem: parse_one(file.read_text(encoding="utf-8").replace("{dataset}", "d"), dialect="bigquery")
        for folder in ("views", "materialized")
        for file in (BIGQUERY / folder).glob("*.sql")
    }
    reads = {
        name: {table.name for table in query.find_all(exp.Table)} & queries.keys() for name, query in queries.items()
    }
    columns: dict[str, list[str]] = {}
    for name in TopologicalSorter(reads).static_order():
        query = qualify(queries[name], schema=schema, dialect="bigquery")
        assert isinstance(query, exp.Query)
        columns[name] = query.named_selects
        schema.add_table(f"d.{name}", dict.fromkeys(columns[name], "STRING"))
    return columns


COLUMNS = bigquery_columns()


def load(file: Path) -> dict[str, Any]:
    with file.open(encoding="utf-8") as text:
        parsed: dict[str, Any] = lkml.load(text)
    return parsed


def load_view(file: Path) -> dict[str, Any]:
    [view] = load(file)["views"]
    assert isinstance(view, dict)
    return view


VIEWS = {file.name.removesuffix(".view.lkml"): load_view(file) for file in VIEW_FILES}
EXPLORES = {explore["name"]: explore for explore in load(LOOKER / f"{MODEL}.model.lkml")["explores"]}
NAMES = sorted(VIEWS)
[BOARD] = yaml.safe_load(DASHBOARD.read_text(encoding="utf-8"))
ELEMENTS = {element["title"]: element for element in BOARD["elements"]}


def fields(view: dict[str, Any], *kinds: str) -> list[dict[str, Any]]:
    return [one for kind in kinds or KINDS for one in view.get(kind, [])]


def field_names(view: dict[str, Any]) -> list[str]:
    """Every name that a field can be asked for by: a group of dimensions has one for each timeframe."""
    plain = [one["name"] for one in fields(view) if "timeframes" not in one]
    grouped = [
        f"{one['name']}_{frame}" for one in view.get("dimension_groups", []) for frame in one.get("timeframes", [])
    ]
    return plain + grouped


def explore_views(name: str) -> set[str]:
    explore = EXPLORES[name]
    return {explore.get("from", name)} | {join.get("from", join["name"]) for join in explore.get("joins", [])}


def known_fields(explore: str) -> set[str]:
    return {f"{name}.{field}" for name in explore_views(explore) for field in field_names(VIEWS[name])}


def references(text: str) -> set[str]:
    liquid = {first or second for first, second in LIQUID.findall(text)}
    return set(REFERENCE.findall(text)) | liquid


@pytest.mark.parametrize("file", sorted(LOOKER.rglob("*.lkml")), ids=lambda file: file.name)
def test_every_file_of_the_model_parses_and_is_not_empty(file: Path) -> None:
    assert load(file)


def test_every_view_that_a_tile_or_a_metric_reads_has_a_file_and_an_explore() -> None:
    assert not REPORTED - (VIEWS.keys() & EXPLORES.keys())


@pytest.mark.parametrize("name", NAMES)
def test_a_view_has_the_name_of_its_file_and_of_its_table(name: str) -> None:
    assert VIEWS[name]["name"] == name
    assert VIEWS[name]["sql_table_name"] == f"`@{{dataset}}.{name}`"


@pytest.mark.parametrize("name", NAMES)
def test_columns_named_in_a_view_are_exactly_those_of_the_table(name: str) -> None:
    dimensions = " ".join(one["sql"] for one in fields(VIEWS[name], "dimensions", "dimension_groups"))
    everything = (LOOKER / "views" / f"{name}.view.lkml").read_text(encoding="utf-8")
    assert set(TABLE_COLUMN.findall(everything)) <= set(COLUMNS[name])
    assert set(TABLE_COLUMN.findall(dimensions)) == set(COLUMNS[name])


@pytest.mark.parametrize("name", NAMES)
def test_every_column_has_a_dimension_of_its_name(name: str) -> None:
    groups = {TABLE_COLUMN.findall(one["sql"])[0] for one in VIEWS[name].get("dimension_groups", [])}
    dimensions = {one["name"] for one in VIEWS[name].get("dimensions", [])}
    assert set(COLUMNS[name]) <= groups | dimensions


@pytest.mark.parametrize("name", NAMES)
def test_no_two_fields_of_a_view_share_a_name_and_each_says_what_it_is(name: str) -> None:
    assert len(set(field_names(VIEWS[name]))) == len(field_names(VIEWS[name]))
    assert [one["name"] for one in fields(VIEWS[name]) if not one.get("description")] == []


@pytest.mark.parametrize("name", NAMES)
def test_every_field_that_a_view_refers_to_exists(name: str) -> None:
    view = VIEWS[name]
    own = set(field_names(view))
    # A view may name fields of views that every explore of it joins.
    joined = [known_fields(explore) for explore in EXPLORES if name in explore_views(explore)]
    reachable = set.intersection(*joined)
    for one in fields(view):
        named = references(f"{one.get('sql', '')} {one.get('sql_distinct_key', '')}")
        named |= {key for conditions in one.get("filters__all", []) for each in conditions for key in each}
        assert named <= own | reachable, one["name"]


@pytest.mark.parametrize("name", NAMES)
def test_days_are_utc_days_in_every_view(name: str) -> None:
    for group in VIEWS[name].get("dimension_groups", []):
        assert (group["type"], group["convert_tz"]) == ("time", "no")
        assert group["datatype"] == ("date" if "event_date" in group["sql"] else "timestamp")


@pytest.mark.parametrize("name", sorted(VIEWS.keys() - ONE_ROW))
def test_no_measure_adds_up_or_averages_what_does_not_add_up(name: str) -> None:
    for measure in VIEWS[name].get("measures", []):
        if measure["type"] in ADDITIVE:
            assert not references(measure["sql"]) & NOT_ADDITIVE, measure["name"]


@pytest.mark.parametrize("name", NAMES)
def test_a_calculated_measure_is_made_of_measures_or_of_the_only_row_there_is(name: str) -> None:
    measures = {one["name"] for one in VIEWS[name].get("measures", [])}
    for measure in VIEWS[name].get("measures", []):
        if measure["type"] == "number" and not ONLY_ROW.fullmatch(measure["sql"]):
            assert set(REFERENCE.findall(measure["sql"])) <= measures, measure["name"]


def test_users_of_a_country_are_added_up_once_for_each_country() -> None:
    [users] = [one for one in VIEWS["views_per_100k_users"]["measures"] if one["name"] == "total_users"]
    assert (users["type"], users["sql_distinct_key"]) == ("sum_distinct", "${country}")


@pytest.mark.parametrize("name", sorted(EXPLORES))
def test_an_explore_and_its_joins_name_views_and_fields_that_exist(name: str) -> None:
    assert explore_views(name) <= VIEWS.keys()
    for join in EXPLORES[name].get("joins", []):
        assert references(join["sql_on"]) <= known_fields(name)


def test_weeks_begin_on_monday_and_answers_are_kept_for_an_hour() -> None:
    model = load(LOOKER / f"{MODEL}.model.lkml")
    assert (model["week_start_day"], model["persist_for"]) == ("monday", "1 hour")


def test_what_the_model_includes_is_there() -> None:
    for pattern in load(LOOKER / f"{MODEL}.model.lkml")["includes"]:
        assert list(LOOKER.glob(pattern)), pattern


def test_every_constant_is_in_the_manifest_and_the_dataset_is_the_settings_default() -> None:
    constants = {one["name"]: one["value"] for one in load(LOOKER / "manifest.lkml")["constants"]}
    for file in LOOKER.rglob("*.lkml"):
        assert set(CONSTANT.findall(file.read_text(encoding="utf-8"))) <= constants.keys(), file.name
    assert constants["dataset"] == "wishlist_social"


def test_the_dashboard_has_the_specs_six_tiles_and_no_other() -> None:
    assert (BOARD["title"], BOARD["refresh"]) == (TITLE, "1 hour")
    assert [element["title"] for element in BOARD["elements"]] == list(TILES)
    for title, types in TILES.items():
        assert ELEMENTS[title]["type"] in types


@pytest.mark.parametrize("title", list(TILES))
def test_a_tile_names_a_model_an_explore_and_fields_that_exist(title: str) -> None:
    element = ELEMENTS[title]
    known = known_fields(element["explore"])
    calculated = {one["table_calculation"] for one in element.get("dynamic_fields", [])}
    named = [*element["fields"], *element.get("fill_fields", []), *element["listen"].values()]
    named += [order.removesuffix(" desc") for order in element.get("sorts", [])]
    for formatting in element.get("conditional_formatting", []):
        named += formatting["fields"]
    for one in element.get("dynamic_fields", []):
        named += references(one["expression"])
    assert element["model"] == MODEL
    assert set(named) <= known | calculated
    assert set(element.get("hidden_fields", [])) <= set(element["fields"])


def test_every_tile_listens_to_the_date_and_only_to_filters_that_exist() -> None:
    filters = {one["name"]: one for one in BOARD["filters"]}
    assert filters["Date"]["type"] == "date_filter"
    for element in BOARD["elements"]:
        assert "Date" in element["listen"]
        assert element["listen"].keys() <= filters.keys()
    assert ELEMENTS["Share Engagement Over Time"]["listen"].keys() == {"Date", "Channel", "Platform"}
    for one in filters.values():
        if one["type"] == "field_filter":
            assert one["model"] == MODEL
            assert one["field"] in known_fields(one["explore"])


def test_the_map_knows_that_its_places_are_countries() -> None:
    [country] = [one for one in VIEWS["views_per_100k_users"]["dimensions"] if one["name"] == "country"]
    assert country["map_layer_name"] == "countries"


def test_twenty_products_are_listed() -> None:
    assert ELEMENTS["Top Shared Products"]["limit"] == 20
