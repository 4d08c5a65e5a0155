"""The pages of docs/ that are generated, so that they are always true: settings, metrics, symptoms, the data
dictionary."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

from prometheus_client import Metric
from pydantic_core import PydanticUndefined
from pydantic_settings import BaseSettings

from clients import metrics
from clients.bigquery import SCHEMAS
from config.settings import ALL
from ops.doctor import runbook as symptoms
from ops.warehouse import TABLES, views

DOCS = Path(__file__).parent.parent / "docs"
_GENERATED = "<!-- What follows is generated from {}: ./run wishlist documents -->"


def configuration() -> str:
    """docs/configuration.md from the models of ``config/settings.py``."""
    lines = [
        "# Configuration",
        "",
        "Every setting is an environment variable. A bad value stops the process at start, naming the variable.",
        "This page is generated: `./run wishlist documents`.",
    ]
    for model in ALL:
        lines += ["", f"## {_title(model)}", "", (model.__doc__ or "").strip().splitlines()[0], ""]
        lines += ["| variable | type | default | meaning |", "|---|---|---|---|"]
        lines += _rows(model)
    return "\n".join(lines) + "\n"


def metrics_page() -> str:
    """docs/metrics.md from the closed list in ``clients/metrics.py``."""
    lines = [
        "# Metrics",
        "",
        "Every process serves these on `/metrics` in Prometheus' format; there are no others of ours.",
        "This page is generated: `./run wishlist documents`.",
        "",
        "| metric | kind | labels | meaning |",
        "|---|---|---|---|",
    ]
    for name in sorted(vars(metrics)):
        value = getattr(metrics, name)
        if name.isupper() and hasattr(value, "describe"):
            described: Metric = next(iter(value.describe()))
            suffix = "_total" if described.type == "counter" else ""
            labels = ", ".join(f"`{label}`" for label in value._labelnames)
            lines.append(f"| `{described.name}{suffix}` | {described.type} | {labels} | {described.documentation} |")
    return "\n".join(lines) + "\n"


def analytics() -> str:
    """docs/analytics.md: what is written there by hand, and the dictionary of tables and views."""
    lines = [_by_hand("analytics.md", "schemas/bigquery"), "", "## Data dictionary", ""]
    for name, layout in TABLES.items():
        lines += [f"### Table `{name}`", ""]
        where = (
            f"In partitions by `{layout.partition}`, of which a query must name some; c" if layout.partition else "C"
        )
        lines += [f"{where}lustered by {', '.join(f'`{column}`' for column in layout.clusters)}.", ""]
        lines += ["| column | type | |", "|---|---|---|"]
        for column in json.loads((SCHEMAS / f"{name}.json").read_text(encoding="utf-8")):
            kind = column["type"] + {"REPEATED": ", repeated", "REQUIRED": ""}.get(column["mode"], ", may be NULL")
            lines.append(f"| `{column['name']}` | {kind} | {column['description']} |")
        lines.append("")
    lines += ["### Views", "", "| view | what it has |", "|---|---|"]
    for view in sorted(views(), key=lambda view: view.name):
        kept = "Materialized. " if view.is_materialized else ""
        lines.append(f"| `{view.name}` | {kept}{view.comment} |")
    return "\n".join(lines) + "\n"


def runbook() -> str:
    """docs/runbook.md: what is written there by hand, and every symptom that `wishlist doctor` may find."""
    return "\n".join([_by_hand("runbook.md", "ops/doctor"), "", *symptoms.sections()]).rstrip() + "\n"


PAGES = {
    "configuration.md": configuration,
    "metrics.md": metrics_page,
    "analytics.md": analytics,
    "runbook.md": runbook,
}


def _by_hand(page: str, source: str) -> str:
    """What stands above the mark, and the mark."""
    mark = _GENERATED.format(source)
    above, _, _ = (DOCS / page).read_text(encoding="utf-8").partition(mark)
    return above + mark


def _title(model: type[BaseSettings]) -> str:
    return f"{model.__name__.removesuffix('Settings')} (`{model.model_config.get('env_prefix', '')}…`)"


def _rows(model: type[BaseSettings]) -> Iterator[str]:
    prefix = model.model_config.get("env_prefix", "")
    for name, field in model.model_fields.items():
        kind = getattr(field.annotation, "__name__", None) or str(field.annotation)
        kind = "str, may be unset" if "None" in str(field.annotation) else kind
        default = "" if field.default in (None, PydanticUndefined) else f"`{field.default}`"
        yield f"| `{(prefix + name).upper()}` | {kind} | {default} | {field.description} |"
