"""``wishlist migrate`` and the bucket, over the wire."""

from __future__ import annotations

from collections.abc import AsyncIterator
from uuid import uuid4

import boto3
import pytest
from typer.testing import CliRunner

from cards.template import FALLBACK_PICTURE
from clients.faults import Unavailable
from clients.objects import ObjectStore
from config.settings import ObjectStoreSettings
from ops import bucket
from ops.cli import app


@pytest.fixture
async def store() -> AsyncIterator[ObjectStore]:
    settings = ObjectStoreSettings(bucket=f"test-{uuid4().hex}")
    yield ObjectStore(settings)
    resource = boto3.resource(
        "s3",
        endpoint_url=settings.endpoint_url,
        region_name="us-east-1",
        aws_access_key_id=settings.access_key_id,
        aws_secret_access_key=settings.secret_access_key,
    ).Bucket(settings.bucket)
    resource.objects.delete()
    resource.delete()


async def test_everything_is_placed_once(store: ObjectStore) -> None:
    first = [line async for line in bucket.prepare(store)]
    assert len(first) == 4
    assert [line async for line in bucket.prepare(store)] == []
    assert await store.get("social/default/wishlist-share-preview.png") == FALLBACK_PICTURE.read_bytes()
    assert b"<title>" in (await store.get("social/templates/wishlist-share.html") or b"")


async def test_what_was_changed_is_put_right(store: ObjectStore) -> None:
    async for _ in bucket.prepare(store):
        pass
    await store.put("social/default/wishlist-share-preview.png", b"something else", "image/png")
    assert [line async for line in bucket.prepare(store)] == ["placed social/default/wishlist-share-preview.png"]


async def test_the_rules_are_the_specs(store: ObjectStore) -> None:
    async for _ in bucket.prepare(store):
        pass
    settings = ObjectStoreSettings()
    client = boto3.client(
        "s3",
        endpoint_url=settings.endpoint_url,
        region_name="us-east-1",
        aws_access_key_id=settings.access_key_id,
        aws_secret_access_key=settings.secret_access_key,
    )
    rules = client.get_bucket_lifecycle_configuration(Bucket=store.bucket)["Rules"]
    moved = next(rule for rule in rules if "Transitions" in rule)
    assert moved["Filter"] == {"Prefix": "social/"}
    assert moved["Transitions"] == [{"Days": 90, "StorageClass": "STANDARD_IA"}]
    assert all(rule["Status"] == "Enabled" for rule in rules)


async def test_a_bucket_that_is_away_is_said() -> None:
    away = ObjectStore(ObjectStoreSettings(endpoint_url="http://127.0.0.1:9"))
    with pytest.raises(Unavailable):
        async for _ in bucket.prepare(away):
            pass


def test_migrate_says_what_to_do_about_a_bucket_that_is_away(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("R2_ENDPOINT_URL", "http://127.0.0.1:9")
    said = CliRunner().invoke(app, ["migrate"])
    assert said.exit_code == 1
    assert "R2_ENDPOINT_URL" in said.output
    assert "Traceback" not in said.output
