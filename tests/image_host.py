"""A picture host on loopback with TLS and a name, and a network that says where it was sent."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpcore
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from cards.safe_fetch import SafeFetcher

HOST = "cdn.vantage.com"
OTHER = "images.vantage.com"
PUBLIC = "93.184.215.14"


def response(status: int = 200, body: bytes = b"", content_type: str = "image/png", **headers: str) -> bytes:
    """One HTTP/1.1 answer, after which the connection closes."""
    fields = {"Content-Type": content_type, "Content-Length": str(len(body)), "Connection": "close"}
    fields |= {name.replace("_", "-"): value for name, value in headers.items()}
    lines = "".join(f"{name}: {value}\r\n" for name, value in fields.items())
    return f"HTTP/1.1 {status} Said\r\n{lines}\r\n".encode() + body


@dataclass
class ImageHost:
    """What it answers by path, what it was asked, and which addresses a connection was made to."""

    answers: dict[str, bytes] = field(default_factory=dict)
    addresses: dict[str, Callable[[], list[str]]] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)
    resolved: list[str] = field(default_factory=list)
    connected: list[str] = field(default_factory=list)
    network: httpcore.AsyncNetworkBackend = field(init=False)
    tls: ssl.SSLContext = field(init=False)
    fetcher: SafeFetcher = field(init=False)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection, one request."""
        path = (await reader.readuntil(b"\r\n\r\n")).split()[1].decode()
        self.asked.append(path)
        writer.write(self.answers.get(path, response(404)))
        try:
            await writer.drain()
            writer.close()
            await writer.wait_closed()
        except ConnectionError:
            return

    async def resolve(self, host: str, _: int) -> list[str]:
        """The name server."""
        self.resolved.append(host)
        return self.addresses.get(host, lambda: [PUBLIC])()


class _Network(httpcore.AnyIOBackend):
    """Every connection ends at the image host; whereto it was meant is kept."""

    def __init__(self, host: ImageHost, port: int) -> None:
        self._host = host
        self._port = port

    async def connect_tcp(self, host: str, port: int, *more: Any, **named: Any) -> httpcore.AsyncNetworkStream:
        self._host.connected.append(host)
        return await super().connect_tcp("127.0.0.1", self._port, *more, **named)


@asynccontextmanager
async def open_image_host(folder: Path) -> AsyncIterator[ImageHost]:
    """The host, and the fetcher that trusts its certificate."""
    certificate, server_tls = _tls(folder)
    host = ImageHost()
    server = await asyncio.start_server(host.serve, "127.0.0.1", 0, ssl=server_tls)
    port = server.sockets[0].getsockname()[1]
    host.network = _Network(host, port)
    host.tls = ssl.create_default_context(cafile=str(certificate))
    host.fetcher = SafeFetcher(frozenset({HOST, OTHER}), resolve=host.resolve, network=host.network, tls=host.tls)
    try:
        yield host
    finally:
        await host.fetcher.aclose()
        server.close()


def _tls(folder: Path) -> tuple[Path, ssl.SSLContext]:
    """A certificate for both names, signed by itself; its file, and a server's context with it."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, HOST)])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(HOST), x509.DNSName(OTHER)]), critical=False)
        .sign(key, hashes.SHA256())
    )
    file, key_file = folder / "host.pem", folder / "host.key"
    file.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    key_file.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(file, key_file)
    return file, context
