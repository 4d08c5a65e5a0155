"""The notification hub's queue: SQS, FIFO with deduplication ids or standard, by way of boto3."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from config.settings import QueueSettings

# SQS takes so many messages in one call.
MOST_AT_ONCE = 10


class QueueError(ConnectionError):
    """The queue did not do what it was asked; trying again may help."""


@dataclass(frozen=True, slots=True)
class Message:
    """*id* tells it from every other one, however often it is sent; messages of one *group* keep their order."""

    id: str
    group: str
    body: str


class NotificationQueue:
    """Async face of boto3's client."""

    def __init__(self, settings: QueueSettings) -> None:
        self.settings = settings
        self._url: str | None = None

    @cached_property
    def _client(self) -> Any:
        settings = self.settings
        return boto3.client(
            "sqs",
            endpoint_url=settings.endpoint_url,
            region_name=settings.region,
            aws_access_key_id=settings.access_key_id,
            aws_secret_access_key=settings.secret_access_key,
            config=Config(connect_timeout=2, read_timeout=5, retries={"total_max_attempts": 1}),
        )

    async def ensure(self) -> bool:
        """Make the queue where it is missing; whether it was."""
        made: bool = await self._call(self._ensure)
        return made

    async def send(self, messages: Sequence[Message]) -> set[str]:
        """Send at most :data:`MOST_AT_ONCE`; the ids of those that the queue has taken.

        Raises :class:`QueueError`, after which any of them may have been taken: send the same ones again.
        """
        taken: set[str] = await self._call(self._send, messages)
        return taken

    async def length(self) -> int:
        """About how many messages nobody has taken yet."""
        length: int = await self._call(self._length)
        return length

    async def _call(self, work: Any, *arguments: Any) -> Any:
        try:
            return await asyncio.to_thread(work, *arguments)
        except (BotoCoreError, ClientError) as error:
            raise QueueError(f"{type(error).__name__}: {error}") from error

    def _ensure(self) -> bool:
        try:
            self._client.get_queue_url(QueueName=self.settings.queue)
            return False
        except self._client.exceptions.QueueDoesNotExist:
            attributes = {"FifoQueue": "true"} if self.settings.is_fifo else {}
            self._client.create_queue(QueueName=self.settings.queue, Attributes=attributes)
            return True

    def _address(self) -> str:
        if self._url is None:
            self._url = str(self._client.get_queue_url(QueueName=self.settings.queue)["QueueUrl"])
        return self._url

    def _length(self) -> int:
        name = "ApproximateNumberOfMessages"
        held = self._client.get_queue_attributes(QueueUrl=self._address(), AttributeNames=[name])
        return int(held["Attributes"][name])

    def _send(self, messages: Sequence[Message]) -> set[str]:
        entries = []
        for message in messages:
            entry = {"Id": message.id.replace("-", ""), "MessageBody": message.body}
            if self.settings.is_fifo:
                entry |= {"MessageGroupId": message.group, "MessageDeduplicationId": message.id}
            entries.append(entry)
        answer = self._client.send_message_batch(QueueUrl=self._address(), Entries=entries)
        taken = {entry["Id"] for entry in answer.get("Successful", ())}
        return {message.id for message in messages if message.id.replace("-", "") in taken}
