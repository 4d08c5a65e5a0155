"""A Faust app as its documentation would have it, tuned for batches; rivals (b) and (c) add their agent."""

from __future__ import annotations

import os
from tempfile import gettempdir

import faust

TOPIC = os.environ["KAFKA_EVENTS_TOPIC"]
app = faust.App(
    f"stock-{TOPIC}{os.environ['STREAM_GROUP_SUFFIX']}",
    broker=f"kafka://{os.environ['KAFKA_BOOTSTRAP_SERVERS']}",
    value_serializer="raw",
    key_serializer="raw",
    topic_allow_declare=False,
    topic_disable_leader=True,
    broker_max_poll_records=2000,
    stream_buffer_maxsize=8192,
    consumer_auto_offset_reset="earliest",
    web_enabled=False,
    datadir=gettempdir(),
)
