"""Every error of the database's driver is passing, data or bug, by its SQLSTATE."""

from __future__ import annotations

import asyncpg
import pytest

from clients.faults import Unavailable
from clients.postgres import Fault, fault_of, outages_named

PASSING, DATA, BUG = Fault.PASSING, Fault.DATA, Fault.BUG
# PostgreSQL manual, appendix A: classes whose codes say one thing; the codes below differ from their class.
BY_CLASS = {
    "00": BUG, "02": BUG, "03": BUG, "08": PASSING, "09": BUG, "0A": BUG, "0B": BUG, "0F": BUG, "0L": BUG,
    "0P": BUG, "0Z": BUG, "10": BUG, "20": BUG, "21": BUG, "22": DATA, "23": DATA, "24": BUG, "25": BUG, "26": BUG,
    "27": BUG, "28": PASSING, "2B": BUG, "2D": BUG, "2F": BUG, "34": BUG, "38": BUG, "39": BUG, "3B": BUG,
    "3D": PASSING, "3F": BUG, "40": PASSING, "42": BUG, "44": DATA, "53": PASSING, "54": DATA, "55": BUG,
    "57": PASSING, "58": PASSING, "72": BUG, "F0": BUG, "HV": BUG, "P0": DATA, "XX": BUG, "01": BUG,
}  # fmt: skip
BY_CODE = {"25006": PASSING, "25P03": PASSING, "55P03": PASSING}
SERVERS = [
    kind
    for kind in vars(asyncpg.exceptions).values()
    if isinstance(kind, type) and issubclass(kind, asyncpg.PostgresError) and getattr(kind, "sqlstate", None)
]


@pytest.mark.parametrize("kind", SERVERS, ids=lambda kind: kind.__name__)
def test_each_error_of_the_server_has_its_kind(kind: type[asyncpg.PostgresError]) -> None:
    code = str(kind.sqlstate)
    assert fault_of(kind("said")) is BY_CODE.get(code, BY_CLASS[code[:2]])


def test_there_are_hundreds_of_them() -> None:
    assert len(SERVERS) > 200


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (asyncpg.InterfaceError("connection is closed"), PASSING),
        (asyncpg.InterfaceError("pool is closing"), PASSING),
        (asyncpg.InterfaceError("cannot perform operation: another operation is in progress"), PASSING),
        (asyncpg.InterfaceError("the server expects 2 arguments for this query, 1 was passed"), BUG),
        (asyncpg.ClientConfigurationError("no such option"), BUG),
        (asyncpg.InternalClientError("cannot switch to state 12"), PASSING),
        (ConnectionRefusedError(), PASSING),
        (OSError("Multiple exceptions: [Errno 111]"), PASSING),
        (TimeoutError(), PASSING),
        (asyncpg.DataError("invalid input for query argument $1: 2147483648 (value out of int32 range)"), DATA),
        (ValueError(), BUG),
        (KeyError("missing"), BUG),
    ],
    ids=str,
)
def test_errors_of_the_client(error: Exception, kind: Fault) -> None:
    assert fault_of(error) is kind


def test_an_outage_gets_its_name_and_everything_else_stays_as_it_is() -> None:
    with pytest.raises(Unavailable, match="PostgreSQL: ConnectionRefusedError") as named, outages_named():
        raise ConnectionRefusedError("no")
    assert (named.value.dependency, type(named.value.__cause__)) == ("PostgreSQL", ConnectionRefusedError)
    for error in (asyncpg.UniqueViolationError("twice"), asyncpg.UndefinedColumnError("none"), ValueError("bug")):
        with pytest.raises(type(error)), outages_named():
            raise error
    with pytest.raises(Unavailable, match="the bucket"), outages_named():
        raise Unavailable("the bucket", "away")
