"""The bucket of preview pictures, over any S3-compatible service (R2, moto)."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from functools import partial
from typing import Any

import boto3
from botocore.client import Config
from botocore.exceptions import BotoCoreError, ClientError
from urllib3.exceptions import HTTPError

from clients.faults import Unavailable
from config.lifecycle import BucketRule
from config.settings import ObjectStoreSettings


def preview_key(token: str) -> str:
    """Where the picture of the share with this token lies (spec, "Cloudflare R2 Storage Configuration")."""
    return f"social/{token}/preview.png"


def content_key(content_hash: str) -> str:
    """Where the picture with this content lies, for all shares that show the same."""
    return f"social/by-content/{content_hash}/preview.png"


# The analysts' page, as it was made last.
DASHBOARD = "dashboards/wishlist-social.html"


@dataclass(frozen=True, slots=True)
class StoredObject:
    """An object as a listing has it; *age* is by the store's own clock."""

    key: str
    bytes: int
    age: timedelta


class ObjectStore:
    """Async face of a boto3 client: each call runs in a thread, and boto's own retry is the spec's single one."""

    def __init__(self, settings: ObjectStoreSettings) -> None:
        self.bucket = settings.bucket
        self._client = boto3.client(
            "s3",
            endpoint_url=settings.endpoint_url,
            region_name="us-east-1" if settings.region == "auto" else settings.region,
            aws_access_key_id=settings.access_key_id,
            aws_secret_access_key=settings.secret_access_key,
            config=Config(
                signature_version="s3v4",
                connect_timeout=2,
                read_timeout=5,
                retries={"total_max_attempts": 2, "mode": "standard"},
                s3={"addressing_style": "path"},
            ),
        )

    async def put(self, key: str, body: bytes, content_type: str, cache_control: str = "") -> None:
        """Write one object."""
        await self._call("put_object", Key=key, Body=body, ContentType=content_type, CacheControl=cache_control)

    async def get(self, key: str) -> bytes | None:
        """The object's bytes, or None where there is no such object."""
        answer = await self._call("get_object", Key=key)
        if answer is None:
            return None
        try:
            body: bytes = await asyncio.to_thread(answer["Body"].read)
        except (BotoCoreError, HTTPError, OSError) as error:  # The body broke off, or came too slowly.
            raise Unavailable("the bucket", f"get_object: {error}") from error
        return body

    async def listing(self, prefix: str) -> AsyncIterator[StoredObject]:
        """Every object whose key begins with *prefix*, by key."""
        more: dict[str, str] = {}
        while True:
            page = await self._call("list_objects_v2", Prefix=prefix, **more)
            if page is None:
                return
            now = _date(page)
            for found in page.get("Contents", ()):
                yield StoredObject(found["Key"], found["Size"], now - found["LastModified"])
            if not page.get("IsTruncated"):
                return
            more = {"ContinuationToken": page["NextContinuationToken"]}

    async def exists(self, key: str) -> bool:
        """Whether there is such an object."""
        return await self._call("head_object", Key=key) is not None

    async def copy(self, source: str, target: str) -> None:
        """Copy one object within the bucket."""
        await self._call("copy_object", Key=target, CopySource={"Bucket": self.bucket, "Key": source})

    async def delete(self, key: str) -> None:
        """Remove one object; removing what is not there is no error."""
        await self._call("delete_object", Key=key)

    def presign(self, key: str, expires: int = 3600) -> str:
        """A GET URL signed with Signature Version 4, good for *expires* seconds (spec: one hour)."""
        url: str = self._client.generate_presigned_url(
            "get_object", Params={"Bucket": self.bucket, "Key": key}, ExpiresIn=expires
        )
        return url

    async def is_there(self) -> bool:
        """Whether there is such a bucket."""
        return await self._call("head_bucket") is not None

    async def healthy(self) -> bool:
        """Whether the bucket answers."""
        try:
            return await self.is_there()
        except Unavailable:
            return False

    async def ensure_bucket(self) -> bool:
        """Make the bucket where it is missing; whether it was."""
        if await self.is_there():
            return False
        await self._call("create_bucket")
        return True

    async def set_lifecycle(self, rules: Sequence[BucketRule]) -> bool:
        """Have the bucket follow *rules* and no others; whether it did not yet."""
        wanted = [_s3_rule(rule) for rule in rules]
        held = await self._call("get_bucket_lifecycle_configuration")
        if held is not None and held["Rules"] == wanted:
            return False
        await self._call("put_bucket_lifecycle_configuration", LifecycleConfiguration={"Rules": wanted})
        return True

    async def _call(self, operation: str, **arguments: Any) -> Any:
        method = partial(getattr(self._client, operation), Bucket=self.bucket, **arguments)
        try:
            return await asyncio.to_thread(method)
        except ClientError as error:
            if error.response["Error"]["Code"] in {"NoSuchKey", "404", "NoSuchBucket", "NoSuchLifecycleConfiguration"}:
                return None
            raise Unavailable("the bucket", f"{operation}: {error}") from error
        except BotoCoreError as error:
            raise Unavailable("the bucket", f"{operation}: {error}") from error


def _date(answer: dict[str, Any]) -> datetime:
    """The store's clock, from the answer's ``Date`` header; a date without a zone is UTC."""
    try:
        date = parsedate_to_datetime(answer["ResponseMetadata"]["HTTPHeaders"]["date"])
    except (KeyError, ValueError, TypeError, OverflowError) as error:
        raise Unavailable("the bucket", "list_objects_v2: no valid Date header in the answer") from error
    return date if date.tzinfo else date.replace(tzinfo=UTC)


def _s3_rule(rule: BucketRule) -> dict[str, Any]:
    what = (
        {"Expiration": {"Days": rule.days}}
        if rule.storage_class is None
        else {"Transitions": [{"Days": rule.days, "StorageClass": rule.storage_class}]}
    )
    return {"ID": rule.name, "Filter": {"Prefix": rule.prefix}, "Status": "Enabled", **what}
