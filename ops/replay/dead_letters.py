"""What a replay puts aside: only what is not aside already."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from clients.postgres import Database
from config.settings import KafkaSettings
from sinks import postgres
from streams.dlq import DeadLetterWriter


class NewDeadLetters(DeadLetterWriter):
    """Leaves out records that the table ``dead_letters`` has from the same group, topic and offset."""

    def __init__(self, kafka: KafkaSettings, database: Database, refused: Callable[[], object]) -> None:
        """*refused* is called for each record that is put aside, or was before."""
        super().__init__(kafka)
        self._database = database
        self._refused = refused

    async def write(self, key: bytes | None, value: bytes | None, headers: Mapping[str, str]) -> None:
        """See :meth:`streams.dlq.DeadLetterWriter.write`."""
        async with postgres.transaction(self._database) as connection:
            known = await connection.fetchval(
                """SELECT EXISTS (SELECT FROM dead_letters WHERE consumer_group = $1 AND original_topic = $2
                                  AND original_partition = $3 AND original_offset = $4)""",
                headers["group"],
                headers["original_topic"],
                int(headers["original_partition"]),
                int(headers["original_offset"]),
            )
        if not known:
            await super().write(key, value, headers)
        self._refused()
