"""``wishlist`` finds each of its commands, and loads no other's libraries for it."""

from __future__ import annotations

import inspect
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import asyncpg
import pytest
import typer
from confluent_kafka import KafkaError, KafkaException
from redis.exceptions import RedisError
from typer.testing import CliRunner

from clients.faults import Unavailable
from ops.cli import COMMANDS, app, summary
from ops.outages import outages_told, sentence


@pytest.mark.parametrize("name", COMMANDS)
def test_each_command_tells_of_itself(name: str) -> None:
    said = CliRunner().invoke(app, [name, "--help"], prog_name="wishlist")
    assert said.exit_code == 0, said.output
    assert f"wishlist {name}" in said.output
    assert "install-completion" not in said.output


def test_the_help_has_every_command_with_a_word_on_it() -> None:
    said = CliRunner().invoke(app, ["--help"], env={"COLUMNS": "120"})
    lines = {line.split()[1]: line.split()[2:-1] for line in said.output.splitlines() if line.startswith("│ ")}
    assert set(COMMANDS) <= set(lines)
    assert all(len(lines[name]) > 2 for name in COMMANDS), lines


def test_an_unknown_command_is_named() -> None:
    said = CliRunner().invoke(app, ["docter"])
    assert said.exit_code == 2
    assert "docter" in said.output and "Did you mean 'doctor'" in said.output


def test_a_command_waits_for_no_other_ones_libraries() -> None:
    look = "import sys; from ops.cli import app; app(['token', '--help'], standalone_mode=False); print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", look], capture_output=True, text=True, check=True)
    assert not {"boto3", "faust", "google.cloud.bigquery", "redis"} & set(done.stdout.split())


def test_the_help_says_what_each_command_says_of_itself_without_loading_one() -> None:
    for name, target in COMMANDS.items():
        module, _, attribute = target.partition(":")
        command = getattr(import_module(module), attribute)
        said = command.info.help if isinstance(command, typer.Typer) else inspect.getdoc(command)
        assert summary(target) == said, name
    look = (
        "import sys; from ops.cli import app; app(['--help'], standalone_mode=False); "
        "print('modules', *[name for name in sys.modules if name.startswith(('streams', 'clients.p', 'asyncpg'))])"
    )
    done = subprocess.run([sys.executable, "-c", look], capture_output=True, text=True, check=True)
    assert set(done.stdout.rpartition("modules")[2].split()) == set()


def test_the_version_is_the_projects() -> None:
    said = CliRunner().invoke(app, ["--version"])
    assert said.exit_code == 0
    assert f'version = "{said.output.split()[-1]}"' in Path("pyproject.toml").read_text()


@pytest.mark.parametrize(
    ("error", "otherwise", "says"),
    [
        (
            Unavailable("the bucket", "no route"),
            "PostgreSQL",
            "The bucket cannot be reached: no route. Check R2_ENDPOINT",
        ),
        (Unavailable("BigQuery", "quota"), None, "BigQuery cannot be reached: quota. Check BIGQUERY_PROJECT"),
        (TimeoutError(), "PostgreSQL", "PostgreSQL cannot be reached: no answer in time. Check POSTGRES_DSN"),
        (
            ConnectionRefusedError(111, "refused"),
            "Redis",
            "Redis cannot be reached: [Errno 111] refused. Check REDIS_URL",
        ),
        (
            asyncpg.TooManyConnectionsError("too many"),
            None,
            "PostgreSQL cannot be reached: too many. Check POSTGRES_DSN",
        ),
        (asyncpg.UndefinedTableError("no table"), None, "PostgreSQL has refused: no table. Is the schema the newest?"),
        (
            KafkaException(KafkaError(KafkaError._TIMED_OUT, "slow")),
            None,
            "Kafka cannot be reached: slow. Check KAFKA_",
        ),
        (RedisError("LOADING"), "PostgreSQL", "Redis cannot be reached: LOADING. Check REDIS_URL"),
        (ConnectionRefusedError(111, "refused"), None, None),
        (ValueError("a bug"), "PostgreSQL", None),
    ],
)
def test_an_outage_names_its_service_and_its_setting(error: Exception, otherwise: str | None, says: str | None) -> None:
    said = sentence(error, otherwise)
    assert said == says or (said is not None and says is not None and said.startswith(says))


def test_what_is_no_outage_is_not_hidden() -> None:
    with pytest.raises(ValueError, match="a bug"), outages_told("PostgreSQL"):
        raise ValueError("a bug")
