"""The notification hub's queue: SQS, FIFO with deduplication ids or standard, by way of boto3."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import boto3
import orjson
from botocore.config import Config
from botocore.exceptions import ClientError, ParamValidationError

from clients.faults import Unavailable
from config.settings import QueueSettings

# SQS takes so many messages in one call, and so many bytes together where the queue's own limit is not higher.
MOST_AT_ONCE = 10
_LEAST_LIMIT_BYTES = 262_144
# What SQS says of a message's content, for one message and for a whole call (SQS API reference, "SendMessageBatch").
_BAD_CONTENT = frozenset(
    {
        "InvalidMessageContents",
        "InvalidParameterValue",
        "MessageTooLong",
        "BatchRequestTooLong",
        "AWS.SimpleQueueService.BatchRequestTooLong",
    }
)
# Noncharacters that SQS takes in no message (#xFFFE, #xFFFF); JSON can say them by an escape.
_ESCAPES = {0xFFFE: "\\ufffe", 0xFFFF: "\\uffff"}


class MessagesRefused(ValueError):
    """The queue will never take this call: the content of one of its messages, at least, is the reason."""


@dataclass(frozen=True, slots=True)
class Message:
    """*id* tells it from every other one, however often it is sent; messages of one *group* keep their order."""

    id: str
    group: str
    body: str


@dataclass(frozen=True, slots=True)
class Sent:
    """The ids of the messages that the queue has, and why it will never take others. The rest may be sent again."""

    taken: set[str] = field(default_factory=set)
    refused: dict[str, str] = field(default_factory=dict)


def json_text(body: Any) -> str:
    """*body* as JSON of the characters that SQS takes."""
    return orjson.dumps(body).decode().translate(_ESCAPES)


class NotificationQueue:
    """Async face of boto3's client."""

    def __init__(self, settings: QueueSettings) -> None:
        self.settings = settings
        self._url: str | None = None
        self._limit_bytes: int | None = None

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

    async def send(self, messages: Sequence[Message]) -> Sent:
        """Send at most :data:`MOST_AT_ONCE` messages.

        Raises ``Unavailable``, after which any of them may have been taken: send the same ones again. Raises
        :class:`MessagesRefused` where SQS refuses the call for a content without naming the message.
        """
        sent: Sent = await self._call(self._send, messages)
        return sent

    async def length(self) -> int:
        """About how many messages nobody has taken yet."""
        length: int = await self._call(self._length)
        return length

    async def _call(self, work: Any, *arguments: Any) -> Any:
        try:
            return await asyncio.to_thread(work, *arguments)
        except ClientError as error:
            if error.response["Error"]["Code"] in _BAD_CONTENT:
                raise MessagesRefused(str(error)) from error
            raise Unavailable("the queue", f"{type(error).__name__}: {error}") from error
        except ParamValidationError as error:
            raise MessagesRefused(str(error)) from error
        except Exception as error:  # an answer that makes no sense raises whatever its parsing stumbles over
            raise Unavailable("the queue", f"{type(error).__name__}: {error}") from error

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

    def _limit(self) -> int:
        """The longest body that the queue takes, in bytes."""
        if self._limit_bytes is None:
            name = "MaximumMessageSize"
            held = self._client.get_queue_attributes(QueueUrl=self._address(), AttributeNames=[name])
            self._limit_bytes = int(held["Attributes"][name])
        return self._limit_bytes

    def _send(self, messages: Sequence[Message]) -> Sent:
        sent, limit = Sent(), self._limit()
        sizes = {message.id: len(message.body.encode()) for message in messages}
        for message in messages:
            if sizes[message.id] > limit:
                sent.refused[message.id] = f"{sizes[message.id]:,} bytes; the queue takes {limit:,}"
        left = [message for message in messages if message.id not in sent.refused]
        while left:
            together = [left.pop(0)]
            size = sizes[together[0].id]
            while left and size + sizes[left[0].id] <= max(limit, _LEAST_LIMIT_BYTES):
                size += sizes[left[0].id]
                together.append(left.pop(0))
            self._send_together(together, sent)
        return sent

    def _send_together(self, messages: Sequence[Message], sent: Sent) -> None:
        entries = []
        for message in messages:
            entry = {"Id": message.id.replace("-", ""), "MessageBody": message.body}
            if self.settings.is_fifo:
                entry |= {"MessageGroupId": message.group, "MessageDeduplicationId": message.id}
            entries.append(entry)
        answer = self._client.send_message_batch(QueueUrl=self._address(), Entries=entries)
        ids = {message.id.replace("-", ""): message.id for message in messages}
        sent.taken.update(ids[entry["Id"]] for entry in answer.get("Successful", ()))
        for entry in answer.get("Failed", ()):
            if entry.get("SenderFault") and entry.get("Code") in _BAD_CONTENT:
                sent.refused[ids[entry["Id"]]] = f"{entry['Code']}: {entry.get('Message', '')}"
