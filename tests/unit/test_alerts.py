"""The alert files of deploy/: right in themselves, alike, and about metrics that exist."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml
from prometheus_client import REGISTRY

from clients import metrics  # registers every metric of ours
from ops.doctor.checks import CHECKS
from ops.doctor.groups import OTHERS_TARGET, TARGETS, groups
from sinks import archive, bigquery, digest
from streams.previews.breaker import State

DEPLOY = Path(__file__).parents[2] / "deploy"
CACHED = Path(__file__).parents[2] / ".state" / "cache" / "promtool" / "usr" / "bin" / "promtool"
PROMETHEUS = DEPLOY / "prometheus"
PROMTOOL = shutil.which("promtool") or str(CACHED)
# node_exporter's, on each machine that runs a part of the product.
OF_MACHINES = {
    "node_filesystem_avail_bytes", "node_filesystem_size_bytes", "node_pressure_cpu_waiting_seconds_total",
}  # fmt: skip

FILES = ("og-renderer", "agents", "dead-letters", "runbook")


def load(*parts: str) -> Any:
    return yaml.safe_load(DEPLOY.joinpath(*parts).read_text())


def alerts(file: str) -> dict[str, dict[str, Any]]:
    return {rule["alert"]: rule for rule in load("prometheus", f"{file}.rules.yml")["groups"][0]["rules"]}


def sample_names() -> set[str]:
    """Every name that a scrape of ours may hold."""
    names = set()
    for family in REGISTRY.collect():
        names |= {family.name} | {f"{family.name}{end}" for end in ("_total", "_bucket", "_count", "_sum")}
    return names


@pytest.mark.parametrize("file", FILES)
def test_promtool_finds_them_right_and_they_fire_when_they_should(file: str) -> None:
    done = subprocess.run(
        [PROMTOOL, "test", "rules", f"{file}.test.yml"], cwd=PROMETHEUS, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_spec_is_met() -> None:
    found = {name: (rule["for"], rule["labels"]["severity"]) for name, rule in alerts("og-renderer").items()}
    assert found == {
        "og-renderer-circuit-breaker-open": ("1m", "P2"),
        "og-renderer-high-render-time": ("5m", "P3"),
        "og-renderer-error-rate": ("5m", "P2"),
    }
    dead_letters = alerts("dead-letters")["wishlist-dlq-not-empty"]
    assert dead_letters["for"] == "15m"
    assert dead_letters["expr"].endswith(" > 0")


@pytest.mark.parametrize("file", FILES)
def test_they_speak_of_metrics_that_exist(file: str) -> None:
    known = sample_names() | OF_MACHINES
    for rule in alerts(file).values():
        used = set(re.findall(r"\b(?:og_|resilience4j_|wishlist_|node_)\w+", rule["expr"]))
        assert used
        assert used <= known


def test_the_renderers_can_fire() -> None:
    assert 'state="open"' in alerts("og-renderer")["og-renderer-circuit-breaker-open"]["expr"]
    assert State.OPEN.value == "open"
    # A quantile is never above the highest bound: without one beyond 5 s the alert could not fire.
    bounds = [b for b in metrics.RENDER_SECONDS._upper_bounds if b != float("inf")]
    assert max(bounds) > 5


@pytest.mark.parametrize("file", FILES)
def test_grafana_says_the_same(file: str) -> None:
    provisioned = load("grafana", "provisioning", "alerting", f"{file}.yml")
    rules = provisioned["groups"][0]["rules"]
    assert [rule["title"] for rule in rules] == list(alerts(file))
    for rule in rules:
        twin = alerts(file)[rule["title"]]
        asked, judged = rule["data"]
        threshold = judged["model"]["conditions"][0]["evaluator"]["params"][0]
        assert f"{asked['model']['expr']} > {threshold}" == twin["expr"]
        assert rule["condition"] == judged["refId"]
        assert judged["model"]["expression"] == asked["refId"]
        assert (rule["for"], rule["labels"]["severity"]) == (twin["for"], twin["labels"]["severity"])
        assert rule["annotations"] == twin["annotations"]


def test_who_hears_of_it_and_no_secret_is_written_down() -> None:
    provisioned = load("grafana", "provisioning", "alerting", "og-renderer.yml")
    points = {point["name"]: {one["type"] for one in point["receivers"]} for point in provisioned["contactPoints"]}
    [policy] = provisioned["policies"]
    [database, platform, urgent] = policy["routes"]
    assert points[policy["receiver"]] == {"slack"}
    assert points[urgent["receiver"]] == {"slack", "pagerduty"}
    assert urgent["object_matchers"] == [["severity", "=", "P2"]]
    # Spec, runbook, "Escalation".
    for route, name in ((database, "database-oncall"), (platform, "platform-oncall")):
        assert route["object_matchers"] == [["page", "=", name]]
        assert points[route["receiver"]] == {"pagerduty"}
    paged = {name: rule["labels"].get("page") for name, rule in alerts("runbook").items()}
    assert paged["wishlist-api-unavailable"] == "database-oncall"
    assert paged["wishlist-kafka-away"] == "platform-oncall"
    assert alerts("runbook")["wishlist-kafka-away"]["for"] == "30m"
    for point in provisioned["contactPoints"]:
        for receiver in point["receivers"]:
            secret = receiver["settings"].get("url") or receiver["settings"]["integrationKey"]
            assert secret.startswith("$")


def test_lag_alerts_ring_at_the_doctors_targets() -> None:
    limits = {}
    for name, rule in alerts("agents").items():
        if name.startswith("wishlist-lag-"):
            limits[name] = int(rule["expr"].rpartition(" > ")[2]) + 1
    targets = {group.name: group.target for group in groups()}
    assert limits == {
        "wishlist-lag-analytics": targets[bigquery.GROUP],
        "wishlist-lag-signals": TARGETS["signals"],
        "wishlist-lag-digest": targets[digest.GROUP],
        "wishlist-lag-archive": targets[archive.GROUP],
        "wishlist-lag-other": OTHERS_TARGET,
    }
    apart = re.findall(r'!~"(.*)"', alerts("agents")["wishlist-lag-other"]["expr"])[0].split("|")
    assert {name for name, target in targets.items() if target != OTHERS_TARGET} <= set(apart)
    assert not {name for name, target in targets.items() if target == OTHERS_TARGET} - {bigquery.GROUP} & set(apart)


def test_each_alert_has_its_place_in_the_runbook_and_each_symptom_names_alerts_that_exist() -> None:
    ringing = {name for file in FILES for name in alerts(file)}
    named = {name for check in CHECKS for symptom in check.every_symptom for name in symptom.alerts}
    assert named == ringing


def test_datadogs_names_are_the_specs() -> None:
    [instance] = load("datadog", "openmetrics.yaml")["instances"]
    named = {ours: theirs for entry in instance["metrics"] for ours, theirs in entry.items()}
    assert set(named) <= sample_names()
    assert {f"{instance['namespace']}.{name}" for name in named.values()} == {
        "og_renderer.browser_pool.available",
        "og_renderer.browser_pool.busy",
        "og_renderer.render_duration_ms",
        "og_renderer.render_errors_total",
        "og_renderer.r2_upload_duration_ms",
        "og_renderer.memory_usage_bytes",
    }
