"""Every metric there is: one closed list, documented in docs/metrics.md."""

from __future__ import annotations

import time

from prometheus_client import Counter, Gauge, Histogram, start_http_server

_FAST = (0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5)
_SLOW = (0.05, 0.1, 0.2, 0.3, 0.5, 0.75, 1, 1.5, 2, 3, 5, 10)

# --- API -----------------------------------------------------------------------------------------------------
HTTP_REQUESTS = Counter("wishlist_http_requests_total", "Answers by route and status.", ["route", "method", "status"])
HTTP_DURATION = Histogram("wishlist_http_request_seconds", "Time to answer.", ["route"], buckets=_FAST)
RATE_LIMIT_CHECKS = Counter("wishlist_rate_limit_checks_total", "Requests held against a limit.", ["limit"])
RATE_LIMIT_BLOCKS = Counter("wishlist_rate_limit_blocks_total", "Requests refused by a limit.", ["limit"])
RATE_LIMIT_FAIL_OPEN = Counter("wishlist_rate_limit_fail_open_total", "Checks passed without Redis.", ["limit"])
RATE_LIMIT_SECONDS = Histogram("wishlist_rate_limit_check_seconds", "Time of one check.", ["limit"], buckets=_FAST)
RATE_LIMIT_MEMORY = Gauge("wishlist_rate_limit_memory_bytes", "Redis memory in use.")

CDN_PURGES = Counter("wishlist_cdn_purges_total", "Requests to the CDN's purge hook, by outcome.", ["outcome"])

# --- Events ---------------------------------------------------------------------------------------------------
EVENTS_SENT = Counter("wishlist_events_sent_total", "Events sent to Kafka, by outcome.", ["event_type", "outcome"])
OUTBOX_APPENDED = Counter(
    "wishlist_outbox_appended_total", "Events put into the outbox: what Kafka did not take, and expiries."
)
OUTBOX_RELAYED = Counter("wishlist_outbox_relayed_total", "Outbox events sent to Kafka by the relay.")

# --- Outboxes and periodic jobs ---------------------------------------------------------------------------------
OUTBOX_ROWS = Gauge("wishlist_outbox_rows", "Rows of an outbox, by state: due or parked.", ["outbox", "state"])
OUTBOX_PARKED = Counter("wishlist_outbox_parked_total", "Rows that were parked.", ["outbox"])
OUTBOX_ATTEMPTS = Counter(
    "wishlist_outbox_attempts_total", "Attempts: done, later, dropped, failed, refused.", ["outbox", "outcome"]
)
JOB_FAILURES = Counter("wishlist_job_failures_total", "Runs of a job that ended with an unexpected exception.", ["job"])

# --- Streams --------------------------------------------------------------------------------------------------
BATCHES_APPLIED = Counter("wishlist_batches_applied_total", "Record batches applied.", ["consumer_group"])
EVENTS_APPLIED = Counter("wishlist_events_applied_total", "Events whose effect was written.", ["consumer_group"])
EVENTS_SKIPPED = Counter("wishlist_events_skipped_total", "Events seen before, or not meant.", ["consumer_group"])
EVENTS_REJECTED = Counter("wishlist_events_rejected_total", "Events sent to the DLQ.", ["consumer_group", "error"])
DEAD_LETTERS_OPEN = Gauge(
    "wishlist_dead_letters_open", "Dead letters that nobody has sent back or discarded.", ["consumer_group"]
)
BATCHES_FENCED = Counter("wishlist_batches_fenced_total", "Batches dropped for another owner.", ["consumer_group"])
BATCH_RETRIES = Counter("wishlist_batch_retries_total", "Tries after a passing fault.", ["consumer_group"])
BATCH_SECONDS = Histogram("wishlist_batch_seconds", "Time to apply one batch.", ["consumer_group"], buckets=_FAST)
WATERMARK = Gauge("wishlist_watermark_offset", "Next offset of the sink.", ["consumer_group", "topic", "partition"])
REFERENCE_REFRESHED = Gauge(
    "wishlist_reference_refreshed_timestamp_seconds", "When catalogue and users by country were last refreshed."
)
DIGESTS = Counter(
    "wishlist_digests_total", "Owners' digests: written, not_wanted, unknown_zone, sent, dropped, failed.", ["outcome"]
)
PUSHES = Counter(
    "wishlist_pushes_total",
    "Push notifications, of owners: told, quiet, not_wanted, no_device, unknown_zone (taken for UTC); of devices: "
    "taken, gone, refused, later, late, taken_over (from a worker that did not say what became of it).",
    ["outcome"],
)
PUSH_SECONDS = Histogram(
    "wishlist_push_seconds", "From an item's addition to the push service's acceptance.", buckets=_SLOW
)
WEBHOOKS = Counter(
    "wishlist_webhooks_total",
    "Webhooks, of deliveries: taken, failed, dropped, late; of webhooks: disabled, taken_over (from a worker that "
    "did not say what became of its call, which may be repeated).",
    ["outcome"],
)
WEBHOOK_SECONDS = Histogram(
    "wishlist_webhook_seconds", "From an event to its receiver's acceptance.", buckets=(*_SLOW, 60, 600, 3_600)
)
ARCHIVE_FILES = Counter("wishlist_archive_files_total", "Files of the archive that were listed.")
ARCHIVE_BYTES = Counter("wishlist_archive_bytes_total", "Bytes of these files.")
ARCHIVE_SWEPT = Counter("wishlist_archive_swept_total", "Files removed that the archive's manifest does not name.")
DASHBOARD_MADE = Gauge("wishlist_dashboard_timestamp_seconds", "When the dashboard was last made.")
GROUP_WAITING = Gauge(
    "wishlist_group_waiting", "1 while a worker waits for something outside that is down.", ["consumer_group"]
)
STUCK_PARTITIONS = Gauge(
    "wishlist_stuck_partitions",
    "Partitions of a worker in which records wait and nothing moves: it must be restarted.",
    ["consumer_group"],
)
GROUP_LAG = Gauge("wishlist_group_lag_records", "Records that wait in the partitions of a worker.", ["consumer_group"])
SHARES_EXPIRED = Counter("wishlist_shares_expired_total", "Expiries handed over to be announced.")
EXPIRIES_UNTIL = Gauge(
    "wishlist_expiries_until_timestamp_seconds", "Every share that expired before this moment has been looked at."
)
WORK_LATE = Gauge(
    "wishlist_work_late_seconds", "By how much the oldest row of a kind that waits is later than it may be.", ["work"]
)
CLOCK = Gauge("wishlist_clock_timestamp_seconds", "The process's clock, at the moment in which it is asked.")
CLOCK.set_function(time.time)
GROUP_STOPPED = Gauge("wishlist_group_stopped", "1 where a group stopped itself.", ["consumer_group"])

# --- Renderer (spec, "Resource monitoring"; names of the spec's alerts) -------------------------------------------
RENDER_REQUESTS = Counter("og_render_requests_total", "Render requests.")
RENDER_ERRORS = Counter("og_render_errors_total", "Renders that failed.", ["reason"])
RENDER_SECONDS = Histogram("og_render_duration_seconds", "Time of one render.", buckets=_SLOW)
RENDER_CACHE_HITS = Counter("og_render_cache_hits_total", "Pictures reused by content.")
RENDER_POOL_AVAILABLE = Gauge("og_renderer_browser_pool_available", "Idle pages.")
RENDER_POOL_BUSY = Gauge("og_renderer_browser_pool_busy", "Pages at work.")
RENDER_BROWSER_STARTS = Counter(
    "og_renderer_browser_starts_total", "Browsers started: at first, after a crash or a hang, or instead of a worn one."
)
RENDER_MEMORY = Gauge("og_renderer_memory_usage_bytes", "Resident memory of renderer and browser.")
R2_UPLOAD_SECONDS = Histogram("og_renderer_r2_upload_duration_seconds", "Time of one upload.", buckets=_FAST)
PREVIEWS_DONE = Counter("wishlist_previews_total", "Preview jobs, by outcome.", ["outcome"])
PREVIEWS_SWEPT = Counter("wishlist_previews_swept_total", "Pictures given up by the daily sweep.", ["reason"])

# --- Breaker og-renderer-cb (spec, "Circuit Breaker Configuration"; names and labels are Micrometer's) -------------
BREAKER_STATE = Gauge("resilience4j_circuitbreaker_state", "1 for the state it is in.", ["name", "state"])
BREAKER_FAILURE_RATE = Gauge(
    "resilience4j_circuitbreaker_failure_rate", "Percentage of failed calls; -1 while they are too few.", ["name"]
)
BREAKER_SLOW_CALL_RATE = Gauge(
    "resilience4j_circuitbreaker_slow_call_rate", "Percentage of slow calls; -1 while they are too few.", ["name"]
)


def serve(port: int) -> int:
    """Serve ``/metrics`` on loopback in a thread; 0 picks a free port. Returns the port."""
    server, _ = start_http_server(port, addr="127.0.0.1")
    return int(server.server_port)
