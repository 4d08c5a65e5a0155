"""How long pictures stay in the bucket (spec, "Cloudflare R2 Storage Configuration", "Lifecycle rules"), as data.

What an object store can judge by itself, an object's age, is a rule in the bucket. What only PostgreSQL knows, views
and a share's expiry, is the daily sweep's: :class:`config.settings.SweepSettings`.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class BucketRule:
    """What becomes of objects under *prefix* that are *days* old: deleted, or moved to *storage_class*."""

    name: str
    prefix: str
    days: int
    storage_class: str | None = None


BUCKET_RULES = (
    # R2 knows Infrequent Access by S3's name.
    BucketRule("infrequent-access-after-90-days", "social/", 90, "STANDARD_IA"),
    # Cards kept by their content are good for 24 hours; shares have copies of their own.
    BucketRule("forget-cards-by-content", "social/by-content/", 7),
)
