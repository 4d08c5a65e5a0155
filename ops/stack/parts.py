"""The parts: how each is started, and how one tells that it is well."""

from __future__ import annotations

import os
import shutil
import ssl
import subprocess
import sys
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import Any, Literal
from urllib.error import HTTPError

import psutil
import redis
from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from ops.stack import push_keys
from ops.stack.state import State

ROOT = Path(__file__).parent.parent.parent
CLUSTER_ID = "d2lzaGxpc3Qtc29jaWFsMQ"
HEAP = "-Xmx384m"
# The agents and how nice each is: rows are awaited sooner than pictures.
AGENTS = {
    "persist": 0,
    "preview": 10,
    "digest": 10,
    "push": 10,
    "webhook": 10,
    "warehouse": 10,
    "segment": 10,
    "archive": 10,
    "dead_letters": 10,
}


@dataclass(frozen=True)
class Part:
    """One process: its command, what must be done before its first start, its health and its address.

    *stuck* says why it must be started again although it runs. *words* are those after ``python -m`` of what may be
    forked from a process that has loaded our modules already. *nice* is 0 for what somebody waits for, up to 19 for
    what comes after it, and "idle" for what gets only what nobody else wants.
    """

    name: str
    command: list[str]
    address: str
    healthy: Callable[[], bool]
    prepare: Callable[[], None] = lambda: None
    env: dict[str, str] = field(default_factory=dict)
    aliases: tuple[str, ...] = ()
    stuck: Callable[[], str | None] = lambda: None
    words: tuple[str, ...] = ()
    nice: int | Literal["idle"] = 0


def http_ok(url: str, ca_file: Path | None = None) -> Callable[[], bool]:
    """Whether *url* answers 200 within a second; by TLS where *ca_file* says whom to believe."""

    def check() -> bool:
        try:
            context = ssl.create_default_context(cafile=ca_file) if ca_file else None
            with urllib.request.urlopen(url, timeout=1, context=context) as answer:
                return bool(answer.status == 200)
        except OSError:
            return False

    return check


def stuck_by(url: str) -> Callable[[], str | None]:
    """What *url* says with a 503. Who does not answer at all may be in a debugger's hands."""

    def check() -> str | None:
        try:
            urllib.request.urlopen(url, timeout=1).close()
        except HTTPError as error:
            return error.read().decode(errors="replace") if error.code == 503 else None
        except OSError:
            return None
        return None

    return check


def environment(state: State) -> dict[str, str]:
    """The settings of every process of this stack, as environment variables (see ``config/settings.py``)."""
    ports = state.ports()
    local = "127.0.0.1"
    push, push_url = state.folder / "push", f"https://{local}:{ports['push_services']}"
    return {
        "KAFKA_BOOTSTRAP_SERVERS": f"{local}:{ports['kafka']}",
        "KAFKA_REPLICATION_FACTOR": "1",
        "KAFKA_MIN_INSYNC_REPLICAS": "1",
        "POSTGRES_DSN": f"postgresql://wishlist@{local}:{ports['postgres']}/wishlist",
        "REDIS_URL": f"redis://{local}:{ports['redis']}/0",
        "R2_ENDPOINT_URL": f"http://{local}:{ports['aws']}",
        "SQS_ENDPOINT_URL": f"http://{local}:{ports['aws']}",
        "SQS_ACCESS_KEY_ID": "development",
        "SQS_SECRET_ACCESS_KEY": "development",
        "FCM_SERVICE_ACCOUNT_FILE": str(push / "service-account.json"),
        "FCM_ENDPOINT": push_url,
        "FCM_CA_FILE": str(push / "ca.pem"),
        "APNS_KEY_FILE": str(push / "apns.p8"),
        "APNS_KEY_ID": push_keys.APNS_KEY_ID,
        "APNS_TEAM_ID": push_keys.APNS_TEAM_ID,
        "APNS_TOPIC": push_keys.APNS_TOPIC,
        "APNS_ENDPOINT": push_url,
        "APNS_CA_FILE": str(push / "ca.pem"),
        "BIGQUERY_ENDPOINT": f"http://{local}:{ports['bigquery']}",
        "BIGQUERY_STORAGE_ENDPOINT": f"{local}:{ports['bigquery_storage']}",
        # A person who plays with it wants to see rows, not to wait for a full minute.
        "BIGQUERY_BATCH_SECONDS": "2",
        "ARCHIVE_BATCH_SECONDS": "2",
        # Here the renderer starts beside the agents, which would find it away and leave it alone for half a minute.
        "RENDERER_BREAKER_WAIT_DURATION_IN_OPEN_STATE_SECONDS": "5",
        "RENDERER_URL": f"http://{local}:{ports['renderer']}",
        "RENDERER_PORT": str(ports["renderer"]),
        "RENDERER_CHROMIUM_PATH": str(ROOT / "ops" / "stack" / "gentle-chromium"),
        "RENDERER_THUMBNAIL_DIR": str(ROOT / "cards" / "assets" / "thumbnails"),
        "SEGMENT_WRITE_KEYS": "development",
        # Receivers of webhooks are on this machine too.
        "WEBHOOK_ALLOW_PRIVATE": "true",
        "API_PORT": str(ports["api"]),
        "API_ORIGIN": f"http://{local}:{ports['api']}",
        "API_TRUSTED_PROXIES": "127.0.0.0/8",
        "JWT_PUBLIC_KEY_FILE": str(state.folder / "jwt" / "public.pem"),
        "JWT_PRIVATE_KEY_FILE": str(state.folder / "jwt" / "private.pem"),
        "DOCTOR_PROCESSES": ",".join(f"{part.name}={part.address}" for part in processes(state)),
        "DOCTOR_DISKS": str(state.folder),
    }


def make_development_keys(state: State) -> None:
    """An RSA key pair for tokens, and what the push services' stand-ins need; each once."""
    push_keys.make(state.folder / "push", state.ports()["push_services"])
    folder = state.folder / "jwt"
    if (folder / "public.pem").exists():
        return
    folder.mkdir(exist_ok=True)
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    push_keys.write_secret(folder / "private.pem", private)
    public = key.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    (folder / "public.pem").write_bytes(public)


def services(state: State) -> list[Part]:
    """What the system stands on: Kafka, PostgreSQL, Redis, and what stands in for R2, SQS, BigQuery, FCM and APNs."""
    ports = state.ports()
    moto = http_ok(f"http://127.0.0.1:{ports['aws']}/moto-api/")
    return [
        _kafka(state),
        _postgres(state),
        Part(
            "redis",
            ["redis-server", "--port", str(ports["redis"]), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"],
            f"redis://127.0.0.1:{ports['redis']}/0",
            lambda: _redis_answers(ports["redis"]),
        ),
        Part(
            "s3",
            # It stands in for machines elsewhere: here it must not take their work's time from ours.
            [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(ports["aws"])],
            f"http://127.0.0.1:{ports['aws']}",
            moto,
            aliases=("sqs",),
            nice="idle",
        ),
        _bigquery(state),
        _push_services(state),
    ]


def processes(state: State) -> list[Part]:
    """What is ours: renderer, API, one worker an agent, and the dashboard's maker."""
    ports = state.ports()

    def url(name: str) -> str:
        return f"http://127.0.0.1:{ports[name]}"

    renderer = Part(
        "renderer",
        [sys.executable, "-m", "renderer_worker"],
        url("renderer"),
        http_ok(f"{url('renderer')}/healthz"),
        nice="idle",
    )
    api = _of_modules("api", 0, ["api"], url("api"), http_ok(f"{url('api')}/readyz"))
    agents = [
        _of_modules(
            name,
            nice,
            ["streams", name],
            url(name),
            http_ok(f"{url(name)}/healthz"),
            env={"STREAM_METRICS_PORT": str(ports[name]), "STREAM_INSTANCE_ID": f"{name}-1"},
            stuck=stuck_by(f"{url(name)}/livez"),
        )
        for name, nice in AGENTS.items()
    ]
    dashboard = _of_modules(
        "dashboard",
        "idle",
        ["analytics"],
        url("dashboard"),
        http_ok(f"{url('dashboard')}/metrics"),
        env={"DASHBOARD_PORT": str(ports["dashboard"])},
    )
    return [renderer, api, *agents, dashboard]


def _of_modules(
    name: str, nice: int | Literal["idle"], words: list[str], address: str, healthy: Callable[[], bool], **more: Any
) -> Part:
    return Part(name, [sys.executable, "-m", *words], address, healthy, words=tuple(words), nice=nice, **more)


def supervisor() -> Part:
    """What starts parts again that died or got stuck (``ops/stack/supervisor.py``)."""
    return Part("supervisor", [sys.executable, "-m", "ops.stack.supervisor"], "", lambda: True)


def kafka_java(cache: Path) -> list[str]:
    """The start of each command that runs one of Kafka's classes."""
    # C1 only: the optimizing compiler takes more time of a small machine than its code gives back.
    java = ["java", HEAP, "-Xms128m", "-XX:TieredStopAtLevel=1", "-Dorg.slf4j.simpleLogger.showDateTime=true"]
    return [*java, "-Dorg.slf4j.simpleLogger.dateTimeFormat=HH:mm:ss.SSS", "-cp", f"{cache / 'kafka'}/*"]


def _kafka(state: State) -> Part:
    ports = state.ports()
    folder = state.folder / "kafka"
    java = kafka_java(state.cache)
    properties = folder / "server.properties"

    def prepare() -> None:
        folder.mkdir(exist_ok=True)
        controller, broker = f"127.0.0.1:{ports['kafka_controller']}", f"127.0.0.1:{ports['kafka']}"
        lines = {
            "process.roles": "broker,controller",
            "node.id": "1",
            "controller.quorum.bootstrap.servers": controller,
            "listeners": f"PLAINTEXT://{broker},CONTROLLER://{controller}",
            "advertised.listeners": f"PLAINTEXT://{broker}",
            "controller.listener.names": "CONTROLLER",
            "listener.security.protocol.map": "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT",
            "log.dirs": str(folder / "data"),
            "auto.create.topics.enable": "false",
            "offsets.topic.replication.factor": "1",
            "offsets.topic.num.partitions": "8",
            "transaction.state.log.replication.factor": "1",
            "transaction.state.log.min.isr": "1",
            "group.initial.rebalance.delay.ms": "0",
        }
        properties.write_text("".join(f"{key}={value}\n" for key, value in lines.items()))
        if not (folder / "data" / "meta.properties").exists():
            subprocess.run(
                [*java, "kafka.tools.StorageTool", "format", "--standalone", "-t", CLUSTER_ID, "-c", str(properties)],
                check=True,
                capture_output=True,
            )

    return Part(
        "kafka",
        [*java, "kafka.Kafka", str(properties)],
        f"127.0.0.1:{ports['kafka']}",
        lambda: _kafka_answers(ports["kafka"]),
        prepare,
    )


def _bigquery(state: State) -> Part:
    ports = state.ports()
    # An environment of its own: the emulator's pins are not ours.
    emulator = [str(state.cache / "bigquery" / "bin" / "python"), str(Path(__file__).parent / "bigquery_emulator.py")]
    data = state.folder / "bigquery"
    words = ["start", "--rest-port", str(ports["bigquery"]), "--grpc-port", str(ports["bigquery_storage"])]
    words += ["--persistent", "--data-dir", str(data), "--log-level", "warning"]
    url = f"http://127.0.0.1:{ports['bigquery']}"
    return Part(
        "bigquery",
        [*emulator, *words],
        url,
        http_ok(f"{url}/bigquery/v2/projects/wishlist-social/datasets"),
        lambda: data.mkdir(exist_ok=True),
        nice="idle",
    )


def _push_services(state: State) -> Part:
    port, folder = state.ports()["push_services"], state.folder / "push"
    url = f"https://127.0.0.1:{port}"
    return Part(
        "push_services",
        [sys.executable, "-m", "ops.stack.push_services", str(folder), str(port)],
        url,
        http_ok(f"{url}/healthz", folder / "ca.pem"),
        nice="idle",
    )


def _postgres(state: State) -> Part:
    port = state.ports()["postgres"]
    binaries = max(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda path: int(path.parent.name))
    # PostgreSQL refuses to run as root, and Debian's postgres user may not enter root's folders. setpriv becomes the
    # server, where runuser would stay its parent, swallow signals and kill it before it has shut down.
    as_root = os.geteuid() == 0
    become = ["setpriv", "--reuid=postgres", "--regid=postgres", "--init-groups"] if as_root else []
    folder = state.folder / "postgres"
    if as_root and subprocess.run([*become, "test", "-x", str(state.folder)], check=False).returncode:
        folder = Path("/var/tmp") / f"wishlist-social-{sha256(str(folder).encode()).hexdigest()[:12]}"
    data = folder / "data"

    def prepare() -> None:
        if not (data / "PG_VERSION").exists():
            folder.mkdir(exist_ok=True)
            if as_root:
                shutil.chown(folder, "postgres", "postgres")
            make = [str(binaries / "initdb"), "-D", str(data), "-U", "wishlist", "-A", "trust", "-E", "UTF8"]
            subprocess.run([*become, *make, "--locale=C.UTF-8"], check=True, capture_output=True, cwd="/")
        _forget_reused_pid(data)

    def answers() -> bool:
        ask = [str(binaries / "psql"), "-qc", "SELECT 1", f"postgresql://wishlist@127.0.0.1:{port}/postgres"]
        env = {**os.environ, "PGCONNECT_TIMEOUT": "2"}
        try:
            return subprocess.run(ask, check=False, capture_output=True, timeout=3, env=env).returncode == 0
        except subprocess.TimeoutExpired:
            return False

    options = ["-p", str(port), "-k", "", "-c", "listen_addresses=127.0.0.1", "-c", "max_connections=200"]
    return Part(
        "postgres",
        [*become, str(binaries / "postgres"), "-D", str(data), *options, "-c", "shared_buffers=256MB"],
        f"postgresql://wishlist@127.0.0.1:{port}/wishlist",
        answers,
        prepare,
    )


def _forget_reused_pid(data: Path) -> None:
    """After a kill the lock file stays: in the way if its number has gone to another process since, else harmless."""
    lock = data / "postmaster.pid"
    if not lock.exists():
        return
    try:
        another = psutil.Process(int(lock.read_text().split()[0])).cwd() != str(data)
    except (psutil.Error, ValueError, IndexError):
        # Nobody has the number: PostgreSQL itself takes the file over, and looks after orphans of the last server.
        return
    if another:
        lock.unlink()


def _kafka_answers(port: int) -> bool:
    try:
        AdminClient({"bootstrap.servers": f"127.0.0.1:{port}", "log_level": 0}).list_topics(timeout=1)
    except KafkaException:
        return False
    return True


def _redis_answers(port: int) -> bool:
    try:
        return bool(redis.Redis(port=port, socket_timeout=1).ping())
    except redis.RedisError:
        return False
