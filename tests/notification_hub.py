"""The far end of the notification queue: what the hub takes out of it."""

from __future__ import annotations

from typing import Any

import boto3
import orjson

from config.settings import QueueSettings


def take_all(settings: QueueSettings) -> list[dict[str, Any]]:
    """Every message that waits, in order; they are gone from the queue afterwards."""
    client = boto3.client(
        "sqs", endpoint_url=settings.endpoint_url, region_name=settings.region,
        aws_access_key_id="development", aws_secret_access_key="development",
    )  # fmt: skip
    url = client.get_queue_url(QueueName=settings.queue)["QueueUrl"]
    found = []
    while messages := client.receive_message(QueueUrl=url, MaxNumberOfMessages=10).get("Messages"):
        found += [orjson.loads(message["Body"]) for message in messages]
        handles = [{"Id": str(n), "ReceiptHandle": one["ReceiptHandle"]} for n, one in enumerate(messages)]
        client.delete_message_batch(QueueUrl=url, Entries=handles)
    return found
