"""The pages of docs/ that are generated, so that they are always true: settings and metrics."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from prometheus_client import Metric
from pydantic_core import PydanticUndefined
from pydantic_settings import BaseSettings

from clients import metrics
from config.settings import ALL

DOCS = Path(__file__).parent.parent / "docs"


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


PAGES = {"configuration.md": configuration, "metrics.md": metrics_page}


def _title(model: type[BaseSettings]) -> str:
    return f"{model.__name__.removesuffix('Settings')} (`{model.model_config.get('env_prefix', '')}…`)"


def _rows(model: type[BaseSettings]) -> Iterator[str]:
    prefix = model.model_config.get("env_prefix", "")
    for name, field in model.model_fields.items():
        kind = getattr(field.annotation, "__name__", None) or str(field.annotation)
        kind = "str, may be unset" if "None" in str(field.annotation) else kind
        default = "" if field.default in (None, PydanticUndefined) else f"`{field.default}`"
        yield f"| `{(prefix + name).upper()}` | {kind} | {default} | {field.description} |"
