"""Faust's recovery, which begins reading after a rebalance, without its limit.

It waits for the positions no longer than for one of Kafka's requests (90 s), takes the end of that wait for the end of
the worker, and from then on the worker reads nothing, whatever comes back. The sink is waited for as long as it takes
(``streams/engine.py``), and another rebalance ends the wait as before.
"""

from __future__ import annotations

from typing import Any

from faust.tables import TableManager
from faust.tables.recovery import Recovery


class PatientRecovery(Recovery):
    """See the module."""

    async def _wait(self, coro: Any, timeout: Any = None) -> None:  # noqa: ASYNC109  # as it is called
        await super()._wait(coro)


class PatientTables(TableManager):
    """There are no tables, but Faust begins reading by way of them."""

    @property
    def recovery(self) -> Recovery:
        if self._recovery is None:
            self._recovery = PatientRecovery(self.app, self, beacon=self.beacon, loop=self.loop)
        return self._recovery
