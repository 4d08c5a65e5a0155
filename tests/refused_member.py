"""``python -m tests.refused_member AGENT``: its worker, once told what aiokafka does not know when it joins its group.

So it was after brokers had died while the group joined.
"""

from __future__ import annotations

import runpy

from aiokafka.consumer.group_coordinator import CoordinatorGroupRebalance
from aiokafka.errors import KafkaError, UnknownError

_join = CoordinatorGroupRebalance.perform_group_join
_answers = iter([KafkaError(repr(UnknownError()))])


async def _join_at_the_second_try(self: CoordinatorGroupRebalance) -> tuple[str, bytes] | None:
    for error in _answers:
        raise error
    assigned: tuple[str, bytes] | None = await _join(self)
    return assigned


CoordinatorGroupRebalance.perform_group_join = _join_at_the_second_try
runpy.run_module("streams", run_name="__main__")
