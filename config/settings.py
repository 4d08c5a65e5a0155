"""Settings of every component, read from the environment.

Each model reads variables with its own prefix (``KAFKA_BOOTSTRAP_SERVERS`` and so on); ``docs/configuration.md``
is generated from these fields. A bad value stops the process at start: :func:`load` prints the variable's name and
the remedy, without a traceback.
"""

from __future__ import annotations

import sys
from typing import Literal, TypeVar

from pydantic import Field, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict


class KafkaSettings(BaseSettings):
    """The broker and the topics (spec, "Detailed Kafka Topic Configuration")."""

    model_config = SettingsConfigDict(env_prefix="KAFKA_")

    bootstrap_servers: str = Field("127.0.0.1:9092", description="Comma-separated host:port of the brokers.")
    events_topic: str = Field("wishlist.social.events", description="Topic of the share events.")
    dlq_topic: str = Field("wishlist.social.events.dlq", description="Topic of events that cannot be applied.")
    segment_topic: str = Field("wishlist.social.segment", description="Topic of the messages of the Segment interface.")
    replication_factor: int = Field(
        3, ge=1, description="Copies of each partition; 1 on a one-broker development stack."
    )
    min_insync_replicas: int = Field(2, ge=1, description="Copies that must have a record before it is acknowledged.")
    schema_registry_url: str | None = Field(
        None, description="Confluent-compatible registry. Unset: schema ids come from schemas/avro/."
    )
    send_timeout_seconds: float = Field(
        1.0, gt=0, description="How long a request waits for the broker before its event goes to the outbox."
    )


class StreamSettings(BaseSettings):
    """How agents read, settle and give up."""

    model_config = SettingsConfigDict(env_prefix="STREAM_")

    max_poll_records: int = Field(2_000, ge=1, description="Records of one partition that one fetch hands over.")
    max_batch_events: int = Field(
        8_000, ge=1, description="Fetches are written together until they hold this many records."
    )
    pace_seconds: float = Field(
        0.05,
        ge=0,
        description="Shortest time from one fetch to the next: what comes meanwhile is written together.",
    )
    linger_seconds: float = Field(
        0.0, ge=0, description="How long a batch that is not full waits for more. The warehouse has its own."
    )
    session_timeout_seconds: float = Field(
        12.0, gt=0, description="Silence after which the group gives a worker's partitions to another."
    )
    max_poll_interval_seconds: float = Field(
        1_800.0, gt=0, description="How long a worker may retry one batch and still keep its partitions."
    )
    retry_base_seconds: float = Field(0.2, gt=0, description="First pause after a passing fault.")
    retry_max_seconds: float = Field(15.0, gt=0, description="Longest pause between tries.")
    max_consecutive_rejects: int = Field(1_000, ge=1, description="Rejects in a row that stop the group.")
    max_reject_ratio: float = Field(0.01, gt=0, le=1, description="Share of rejected events that stops the group…")
    reject_ratio_after: int = Field(10_000, ge=1, description="…once this many events have been seen.")
    max_event_bytes: int = Field(
        1_048_576, ge=1_024, description="Largest encoded event that is decoded; longer ones are rejected."
    )
    metrics_host: str = Field("127.0.0.1", description="Address of /metrics, /healthz and /livez.")
    metrics_port: int = Field(
        0, ge=0, le=65_535, description="Port of /metrics, /healthz and /livez; 0 picks a free one."
    )
    progress_check_seconds: float = Field(
        5.0, gt=0, description="How often the log's ends are compared with what was applied."
    )
    stuck_after_seconds: float = Field(
        120.0,
        gt=0,
        description="A partition is stuck where records wait and nothing moves for so long, and for "
        "STREAM_LINGER_SECONDS besides. Longer than any batch takes.",
    )
    instance_id: str | None = Field(
        None,
        description="Static membership: a worker that comes back under its old id gets its partitions at once, "
        "without waiting for the session time-out. Unique in its group.",
    )
    group_suffix: str = Field(
        "", description="Appended to every consumer group's name: a second set of groups on the same brokers."
    )


class DlqSettings(BaseSettings):
    """Dead letters: how `wishlist dlq` sends them back, and how often they are counted."""

    model_config = SettingsConfigDict(env_prefix="DLQ_")

    max_redrives: int = Field(3, ge=1, description="Times that an event is sent back; after that it is a loop.")
    redrives_per_second: float = Field(200.0, gt=0, description="How fast `wishlist dlq redrive` sends at most.")
    count_seconds: float = Field(15.0, gt=0, description="Time from one count of the open letters to the next.")


class PostgresSettings(BaseSettings):
    """The wishlist database."""

    model_config = SettingsConfigDict(env_prefix="POSTGRES_")

    dsn: str = Field("postgresql://wishlist@127.0.0.1:5432/wishlist", description="libpq URL of the wishlist database.")
    pool_size: int = Field(10, ge=1, description="Connections that one process holds at most.")
    command_timeout_seconds: float = Field(30.0, gt=0, description="Longest single statement.")


class RedisSettings(BaseSettings):
    """Rate limits and the cache of share tokens."""

    model_config = SettingsConfigDict(env_prefix="REDIS_")

    url: str = Field("redis://127.0.0.1:6379/0", description="Redis URL.")
    timeout_seconds: float = Field(0.25, gt=0, description="Longest wait for one command before failing open.")
    share_ttl_seconds: int = Field(3_600, ge=1, description="How long a share stays in the cache.")


class ObjectStoreSettings(BaseSettings):
    """The bucket of preview pictures (spec, "Cloudflare R2 Storage Configuration")."""

    model_config = SettingsConfigDict(env_prefix="R2_")

    endpoint_url: str | None = Field(None, description="S3-compatible endpoint; unset means AWS's own.")
    region: str = Field("auto", description="Region name sent in signatures.")
    access_key_id: str = Field("development", description="Access key.")
    secret_access_key: str = Field("development", description="Secret key.")
    bucket: str = Field("vantage-social-assets", description="Private bucket of the pictures.")


class RendererSettings(BaseSettings):
    """svc-og-renderer and its client."""

    model_config = SettingsConfigDict(env_prefix="RENDERER_")

    url: str = Field("http://127.0.0.1:3000", description="Where agents reach svc-og-renderer.")
    host: str = Field("127.0.0.1", description="Address the renderer listens on.")
    port: int = Field(3000, ge=0, le=65_535, description="Port the renderer listens on.")
    timeout_seconds: float = Field(5.0, gt=0, description="Longest time on a page (spec: 5 s).")
    queue_seconds: float = Field(5.0, gt=0, description="Longest wait for a page (spec: 5 s).")
    queue_length: int = Field(100, ge=1, description="Cards that may wait for a page; more are refused at once.")
    engine: Literal["chromium", "browserless"] = Field(
        "chromium", description="What draws cards: a browser, or takumi, which needs none and draws nearly the same."
    )
    chromium_path: str = Field("/usr/bin/chromium", description="Chromium's executable.")
    browsers: int = Field(3, ge=1, description="Browsers in the pool (spec: 3).")
    pages_per_browser: int = Field(2, ge=1, description="Cards that one browser draws at once (spec: 2).")
    relay_renders: int = Field(6, ge=1, description="Cards that one preview worker asks for at once.")
    browser_cards: int = Field(2_000, ge=1, description="Cards after which a browser is replaced.")
    browser_memory_mb: int = Field(400, ge=1, description="Memory, in MB, above which a browser is replaced.")
    cache_ttl_seconds: int = Field(86_400, ge=1, description="How long a finished picture is reused (spec: 24 h).")
    image_hosts: str = Field(
        "cdn.vantage.com", description="Comma-separated hosts that thumbnails may be fetched from."
    )
    thumbnail_dir: str | None = Field(
        None, description="Folder that answers for image hosts in development: <product id>.jpg."
    )

    @property
    def longest_seconds(self) -> float:
        """What one render may take: its wait for a page, and its time on it."""
        return self.queue_seconds + self.timeout_seconds


class WarehouseSettings(BaseSettings):
    """BigQuery, and how the warehouse agent writes it. Credentials come as Google's libraries look for them."""

    model_config = SettingsConfigDict(env_prefix="BIGQUERY_")

    project: str = Field("wishlist-social", description="Google Cloud project that holds the dataset.")
    dataset: str = Field("wishlist_social", pattern="^[A-Za-z0-9_]+$", description="Dataset of tables and views.")
    location: str = Field("US", description="Where the dataset is made.")
    endpoint: str | None = Field(
        None, description="URL of an emulator's REST side, which is asked without credentials. Unset: Google's own."
    )
    storage_endpoint: str | None = Field(
        None, description="HOST:PORT of the emulator's gRPC side. Set together with BIGQUERY_ENDPOINT."
    )
    batch_events: int = Field(500, ge=1, description="Events that are written at once (spec: 500)…")
    batch_seconds: float = Field(60.0, ge=0, description="…or what came within so many seconds (spec: 60 s).")
    reference_seconds: float = Field(
        3_600.0, gt=0, description="Time from one refresh of catalogue and users by country to the next."
    )
    timeout_seconds: float = Field(30.0, gt=0, description="Longest wait for one answer.")


class ArchiveSettings(BaseSettings):
    """The events topic beyond its 30 days, as files in the bucket (R2_BUCKET)."""

    model_config = SettingsConfigDict(env_prefix="ARCHIVE_")

    prefix: str = Field("archive/", pattern="^[A-Za-z0-9._/-]*/$", description="Where the files lie.")
    batch_events: int = Field(20_000, ge=1, description="Events that make a file…")
    batch_seconds: float = Field(300.0, ge=0, description="…or what came within so many seconds.")
    sweep_seconds: float = Field(
        3_600.0, gt=0, description="Time from one removal of files that nothing names to the next."
    )


class DashboardSettings(BaseSettings):
    """The analysts' page."""

    model_config = SettingsConfigDict(env_prefix="DASHBOARD_")

    days: int = Field(28, ge=1, le=366, description="How many days it shows, today included.")
    every_seconds: float = Field(3_600.0, gt=0, description="Time from one making to the next (spec: hourly).")
    first_after_seconds: float = Field(20.0, ge=0, description="Time from the start to the first making.")
    port: int = Field(0, ge=0, le=65_535, description="Port of /metrics; 0 picks a free one.")


class DigestSettings(BaseSettings):
    """The owners' daily digest, at 09:00 by their own clocks."""

    model_config = SettingsConfigDict(env_prefix="DIGEST_")

    most_shares: int = Field(10, ge=1, le=100, description="Shares that a digest names; of the rest it says how many.")
    check_seconds: float = Field(5.0, gt=0, description="How often is looked for owners whose day closes.")


class PushSettings(BaseSettings):
    """Push notifications to owners: an item of theirs was added."""

    model_config = SettingsConfigDict(env_prefix="PUSH_")

    collapse_seconds: float = Field(
        60.0, ge=0, description="After a push about a wishlist, what else is added from it is told together."
    )
    latest_seconds: float = Field(
        86_400.0, gt=0, description="What has happened longer ago than this is not told any more."
    )
    at_once: int = Field(50, ge=1, description="Pushes under way at once, for each of FCM and APNs.")
    check_seconds: float = Field(0.25, gt=0, description="How often is looked for pushes that are due.")


class WebhookSettings(BaseSettings):
    """Webhooks of owners and of the shop: calls to their own addresses."""

    model_config = SettingsConfigDict(env_prefix="WEBHOOK_")

    allow_private: bool = Field(
        False, description="Allow http, and addresses that are not public: for development and tests only."
    )
    timeout_seconds: float = Field(10.0, gt=0, description="Longest time of one call, from the name to the status.")
    at_once: int = Field(100, ge=1, description="Webhooks that one worker calls at once; each of them once.")
    turn_seconds: float = Field(
        5.0, ge=0, description="How long one webhook is called, once for each event, before others have their turn."
    )
    most_failures: int = Field(20, ge=1, description="Failures in a row that disable a webhook.")
    longest_pause_seconds: float = Field(
        3_600.0, ge=0, description="Longest pause after a failure, also where the receiver asks for a longer one."
    )
    latest_seconds: float = Field(
        86_400.0, gt=0, description="What has happened longer ago than this when it is read is not told."
    )
    give_up_seconds: float = Field(
        259_200.0, gt=0, description="What has not been delivered so long after it happened is given up."
    )
    check_seconds: float = Field(0.25, gt=0, description="How often is looked for deliveries that are due.")


class QueueSettings(BaseSettings):
    """The notification hub's queue: SQS."""

    model_config = SettingsConfigDict(env_prefix="SQS_")

    endpoint_url: str | None = Field(None, description="SQS-compatible endpoint; unset means AWS's own.")
    region: str = Field("us-east-1", description="Region of the queue.")
    access_key_id: str | None = Field(None, description="Access key; unset: as boto3 finds it.")
    secret_access_key: str | None = Field(None, description="Secret key.")
    queue: str = Field(
        "wishlist-social-notifications.fifo",
        pattern=r"^[A-Za-z0-9_-]{1,75}(\.fifo)?$",
        description="Name of the queue; one that ends in .fifo is FIFO, with the notification's id for deduplication.",
    )

    @property
    def is_fifo(self) -> bool:
        """Whether the queue keeps order and drops what is sent twice within five minutes."""
        return self.queue.endswith(".fifo")


class FcmSettings(BaseSettings):
    """Firebase Cloud Messaging, which pushes to Android."""

    model_config = SettingsConfigDict(env_prefix="FCM_")

    service_account_file: str | None = Field(
        None, description="JSON file of a service account that may send messages; its project is the app's."
    )
    endpoint: str = Field("https://fcm.googleapis.com", description="Where messages are sent.")
    ca_file: str | None = Field(None, description="PEM file of the authorities believed. Unset: the system's.")
    timeout_seconds: float = Field(10.0, gt=0, description="Longest time for one message, its access token included.")


class ApnsSettings(BaseSettings):
    """Apple Push Notification service."""

    model_config = SettingsConfigDict(env_prefix="APNS_")

    key_file: str | None = Field(None, description="Apple's .p8 file: the key that signs provider tokens.")
    key_id: str | None = Field(None, description="That key's id, ten characters.")
    team_id: str | None = Field(None, description="The developer team's id, ten characters.")
    topic: str | None = Field(None, description="The app's bundle id.")
    endpoint: str = Field(
        "https://api.push.apple.com",
        description="Where messages are sent; https://api.sandbox.push.apple.com for development builds of the app.",
    )
    ca_file: str | None = Field(None, description="PEM file of the authorities believed. Unset: the system's.")
    timeout_seconds: float = Field(10.0, gt=0, description="Longest time for one message.")


class UnsubscribeSettings(BaseSettings):
    """Links that end notifications without signing in (RFC 8058)."""

    model_config = SettingsConfigDict(env_prefix="UNSUBSCRIBE_")

    key: str = Field("development-only", min_length=8, description="Key that signs them; the same in every process.")


class SweepSettings(BaseSettings):
    """The daily sweep of pictures (spec, "Cloudflare R2 Storage Configuration", "Lifecycle rules")."""

    model_config = SettingsConfigDict(env_prefix="SWEEP_")

    unviewed_days: int = Field(30, ge=1, description="Age at which the picture of a share without a view goes.")
    expired_days: int = Field(7, ge=0, description="Days after a share's expiry at which its picture goes.")
    every_hours: float = Field(24.0, gt=0, description="Time from one sweep to the next.")


class ExpirySettings(BaseSettings):
    """The announcement of shares that have expired; an expiry is announced within a minute."""

    model_config = SettingsConfigDict(env_prefix="EXPIRY_")

    every_seconds: float = Field(5.0, gt=0, description="Time from one look for expired shares to the next.")
    grace_seconds: float = Field(
        10.0,
        ge=0,
        description="How long after its expiry a share is announced: an owner who moved the expiry just before has "
        "until then to reach the share's row.",
    )


class BreakerSettings(BaseSettings):
    """Breaker ``og-renderer-cb`` (spec, "Circuit Breaker Configuration"); names are Resilience4j's."""

    model_config = SettingsConfigDict(env_prefix="RENDERER_BREAKER_")

    sliding_window_size: int = Field(10, ge=1, description="Calls that the rates are taken from.")
    minimum_number_of_calls: int = Field(3, ge=1, description="Calls before the rates count.")
    failure_rate_threshold: float = Field(50.0, gt=0, le=100, description="Percentage of failed calls that opens it.")
    slow_call_duration_seconds: float = Field(5.0, gt=0, description="A call that takes longer is slow.")
    slow_call_rate_threshold: float = Field(80.0, gt=0, le=100, description="Percentage of slow calls that opens it.")
    wait_duration_in_open_state_seconds: float = Field(30.0, gt=0, description="How long no call is made once open.")
    permitted_calls_in_half_open_state: int = Field(2, ge=1, description="Trial calls that decide what comes next.")
    max_wait_duration_in_half_open_state_seconds: float = Field(
        60.0, gt=0, description="How long trial calls may go without an outcome before it opens again."
    )


class ApiSettings(BaseSettings):
    """The HTTP edge."""

    model_config = SettingsConfigDict(env_prefix="API_")

    host: str = Field("127.0.0.1", description="Address the API listens on.")
    port: int = Field(8000, ge=0, le=65_535, description="Port the API listens on.")
    public_url: str = Field("https://vantage.com", description="Origin of share links.")
    origin: str | None = Field(
        None,
        pattern=r"^https?://[^\s/]+/?$",
        description="Origin by which browsers reach this API, e.g. https://api.vantage.com; unset: API_PUBLIC_URL.",
    )
    cors_origins: str = Field(
        "",
        pattern=r"^\s*(https?://[^\s,/]+(\s*,\s*https?://[^\s,/]+)*)?\s*$",
        description="Comma-separated origins whose pages may call /api/v2, e.g. https://www.vantage.com. No cookies.",
    )
    cdn_url: str = Field("https://cdn.vantage.com", description="Origin of preview pictures.")
    trusted_proxies: str = Field(
        "",
        description="Comma-separated networks whose X-Forwarded-For is believed, else their Forwarded (RFC 7239), e.g. "
        "127.0.0.0/8. A proxy that writes Forwarded must remove a client's X-Forwarded-For.",
    )
    country_header: str = Field("CF-IPCountry", description="CDN header with the visitor's ISO 3166-1 country.")
    # A statement of the API takes a few milliseconds; what takes this long is a database in trouble.
    database_seconds: float = Field(
        2.0, gt=0, description="Longest wait for PostgreSQL: for a connection, and for an answer; then 503."
    )
    share_limit_per_hour: int = Field(20, ge=1, description="Shares one user may create in an hour.")
    lookup_limit_per_minute: int = Field(60, ge=1, description="Look-ups one address may make in a minute.")
    fallback_limit_per_minute: int = Field(
        6_000, ge=1, description="Requests one process lets through in a minute while Redis is away."
    )
    sharing_percentage: int = Field(
        100, ge=0, le=100, description="Flag wishlist-sharing: percentage of users who may create shares."
    )
    purge_url: str | None = Field(
        None, description='Hook that is told, as {"urls": […]}, which pages and pictures the CDN must forget.'
    )
    static_previews: bool = Field(False, description="Operators' switch: serve the generic picture only.")
    visitor_key: str = Field(
        "development-only", min_length=8, description="Key of the daily visitor hash; the same in every process."
    )


class AuthSettings(BaseSettings):
    """JSON Web Tokens (RFC 7519), RS256 only."""

    model_config = SettingsConfigDict(env_prefix="JWT_")

    issuer: str = Field("https://auth.vantage.com", description="Required iss.")
    audience: str = Field("wishlist-api", description="Required aud.")
    public_key_file: str | None = Field(None, description="PEM file with the RSA public key.")
    private_key_file: str | None = Field(None, description="PEM file for `wishlist token`; development only.")
    jwks_url: str | None = Field(None, description="JWKS endpoint; used instead of the file when set.")


class SegmentSettings(BaseSettings):
    """Who may send messages by Segment's HTTP interface."""

    model_config = SettingsConfigDict(env_prefix="SEGMENT_")

    write_keys: str = Field(
        "", description="Comma-separated write keys. They stand in public pages and are no secrets. Empty: nobody may."
    )

    @property
    def keys(self) -> tuple[str, ...]:
        """Each of them."""
        return tuple(key.strip() for key in self.write_keys.split(",") if key.strip())


class DoctorSettings(BaseSettings):
    """What `wishlist doctor` looks at beside the parts that the other settings name."""

    model_config = SettingsConfigDict(env_prefix="DOCTOR_")

    processes: str = Field(
        "",
        pattern=r"^\s*([\w-]+=https?://[^\s,]+(\s*,\s*[\w-]+=https?://[^\s,]+)*)?\s*$",
        description="Comma-separated NAME=URL of every process that serves /metrics, e.g. "
        "api=http://api-1:8000,persist=http://persist-1:9100. Several of a name are several workers. `./run up` fills "
        "it.",
    )
    disks: str = Field("/", description="Comma-separated folders whose disks are looked at.")
    cpu_waiting: float = Field(
        0.8, ge=0, description="The share of a minute in which some task may wait for a processor, 0.8 for 80 %."
    )
    watch_seconds: float = Field(
        2.0, ge=0, description="How long the API's counters are watched: only what happens then is judged."
    )

    @property
    def named_processes(self) -> tuple[tuple[str, str], ...]:
        """Name and URL of each process."""
        pairs = (one.strip().partition("=") for one in self.processes.split(",") if one.strip())
        return tuple((name, url.rstrip("/")) for name, _, url in pairs)

    @property
    def folders(self) -> tuple[str, ...]:
        """Each folder."""
        return tuple(folder.strip() for folder in self.disks.split(",") if folder.strip())


class LogSettings(BaseSettings):
    """Structured logs."""

    model_config = SettingsConfigDict(env_prefix="LOG_")

    level: str = Field("INFO", pattern="^(DEBUG|INFO|WARNING|ERROR)$", description="DEBUG, INFO, WARNING or ERROR.")


class StackSettings(BaseSettings):
    """What ``./run up`` does on this machine."""

    model_config = SettingsConfigDict(env_prefix="STACK_")

    background: bool = Field(
        True,
        description="Agents other than persist, renderer and stand-ins run on what the others leave of the processor "
        "(as root on Linux; elsewhere they are only nice).",
    )


S = TypeVar("S", bound=BaseSettings)

ALL: tuple[type[BaseSettings], ...] = (
    KafkaSettings,
    StreamSettings,
    DlqSettings,
    PostgresSettings,
    RedisSettings,
    ObjectStoreSettings,
    RendererSettings,
    WarehouseSettings,
    DashboardSettings,
    DigestSettings,
    PushSettings,
    QueueSettings,
    FcmSettings,
    ApnsSettings,
    UnsubscribeSettings,
    ArchiveSettings,
    SweepSettings,
    ExpirySettings,
    BreakerSettings,
    WebhookSettings,
    ApiSettings,
    AuthSettings,
    SegmentSettings,
    DoctorSettings,
    LogSettings,
    StackSettings,
)


def load(model: type[S]) -> S:
    """Read *model* from the environment, or leave with exit code 2 and a line for each bad variable."""
    try:
        return model()
    except ValidationError as error:
        prefix = model.model_config.get("env_prefix", "")
        for problem in error.errors():
            name = prefix + "_".join(str(part) for part in problem["loc"]).upper()
            print(f"configuration: {name}: {problem['msg']} (got {problem['input']!r})", file=sys.stderr)
        sys.exit(2)
