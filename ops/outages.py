"""What every command says where a service is away: one sentence on standard error, and exit code 1."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager

import typer
from rich.console import Console

from clients.faults import Unavailable

# Where each service is set, by the name that errors give to it.
SETTINGS = {
    "PostgreSQL": "POSTGRES_DSN",
    "Kafka": "KAFKA_BOOTSTRAP_SERVERS",
    "Redis": "REDIS_URL",
    "the bucket": "R2_ENDPOINT_URL",
    "the queue": "SQS_ENDPOINT_URL",
    "BigQuery": "BIGQUERY_PROJECT and the credentials, or BIGQUERY_ENDPOINT",
    "the schema registry": "KAFKA_SCHEMA_REGISTRY_URL",
    "the API": "API_HOST and API_PORT",
}
# A driver is not loaded for this: one that is not loaded has raised nothing.
_DRIVERS = (
    ("asyncpg", "PostgresError", "PostgreSQL"),
    ("asyncpg", "InterfaceError", "PostgreSQL"),
    ("asyncpg", "InternalClientError", "PostgreSQL"),
    ("confluent_kafka", "KafkaException", "Kafka"),
    ("redis.exceptions", "RedisError", "Redis"),
    ("httpx", "TransportError", "the API"),
)

notices = Console(stderr=True, soft_wrap=True, highlight=False, markup=False)


def sentence(error: BaseException, otherwise: str | None = None) -> str | None:
    """What *error* says of a service, and the setting to look at; None where it is about none.

    *otherwise*: the service that an error of the network is about which names none.
    """
    part = part_of(error) or (otherwise if isinstance(error, OSError) else None)
    if part is None:
        return None
    name, why = part[:1].upper() + part[1:], _reason(error)
    if part == "PostgreSQL" and not _is_outage(error):
        return f"{name} has refused: {why}. Is the schema the newest? wishlist migrate brings it there."
    return f"{name} cannot be reached: {why}. Check {SETTINGS.get(part, 'its settings')}; ./run up starts one."


def part_of(error: BaseException) -> str | None:
    """The service that *error* names itself, or that its driver is for."""
    if isinstance(error, Unavailable):
        return next((name for name in SETTINGS if name.lower() == error.dependency.lower()), error.dependency)
    for module, name, part in _DRIVERS:
        if module in sys.modules and isinstance(error, getattr(sys.modules[module], name)):
            return part
    return None


def give_up(said: str) -> typer.Exit:
    """Say it; raise what this returns."""
    notices.print(said, style="red")
    return typer.Exit(1)


@contextmanager
def outages_told(otherwise: str | None = None) -> Iterator[None]:
    """An outage leaves as exit code 1 behind its sentence, see :func:`sentence`; any other error as it is."""
    try:
        yield
    except Exception as error:
        said = sentence(error, otherwise)
        if said is None:
            raise
        raise give_up(said) from None


def _is_outage(error: BaseException) -> bool:
    from clients.postgres import Fault, fault_of

    return isinstance(error, Unavailable) or fault_of(error) is Fault.PASSING


def _reason(error: BaseException) -> str:
    if isinstance(error, Unavailable):
        said = error.reason
    elif error.args and hasattr(error.args[0], "str"):  # of confluent_kafka
        said = error.args[0].str()
    else:
        said = str(error)
    return " ".join(said.split()).rstrip(".") or ("no answer in time" if isinstance(error, TimeoutError) else "")
