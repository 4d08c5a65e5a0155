"""The renderer's unit file: limits that its own settings can live within. The agents' Deployments: probes that hold."""

from __future__ import annotations

import configparser
import importlib.util
from pathlib import Path

import yaml

from config.settings import RendererSettings
from ops.stack.parts import AGENTS

AGENTS_FILE = Path(__file__).parents[2] / "deploy" / "kubernetes" / "agents.yml"
UNIT = Path(__file__).parents[2] / "deploy" / "systemd" / "svc-og-renderer.service"
# What the service takes besides its browsers, and what a browser may be above its mark before it is looked at.
WORKER_MB, OVER_MARK = 250, 1.2


def test_the_limits_hold_a_full_pool_at_its_mark() -> None:
    unit = configparser.ConfigParser(interpolation=None)
    unit.optionxform = str  # type: ignore[assignment,method-assign]
    unit.read(UNIT)
    service = unit["Service"]
    settings = RendererSettings()
    full = settings.browsers * settings.browser_memory_mb * OVER_MARK + WORKER_MB
    assert full <= megabytes(service["MemoryHigh"]) < megabytes(service["MemoryMax"])
    module = service["ExecStart"].split(" -m ")[1]
    assert importlib.util.find_spec(f"{module}.__main__")


def megabytes(value: str) -> float:
    assert value.endswith("M")
    return float(value[:-1])


def test_each_agent_is_restarted_where_it_is_stuck_and_only_there() -> None:
    deployments = yaml.safe_load(AGENTS_FILE.read_text())["items"]
    workers = [deployment["spec"]["template"]["spec"]["containers"][0] for deployment in deployments]
    assert [worker["command"][:-1] for worker in workers] == [["python", "-m", "streams"]] * len(AGENTS)
    assert [worker["command"][-1] for worker in workers] == list(AGENTS)
    for worker in workers:
        given = {entry["name"]: entry["value"] for entry in worker["env"]}
        [port] = worker["ports"]
        # The page is on loopback by default, where the kubelet does not reach it.
        assert given["STREAM_METRICS_HOST"] == "0.0.0.0"
        assert int(given["STREAM_METRICS_PORT"]) == port["containerPort"]
        assert worker["livenessProbe"]["httpGet"] == {"path": "/livez", "port": port["name"]}
        assert worker["readinessProbe"]["httpGet"] == {"path": "/healthz", "port": port["name"]}
