"""Keys for the push services' stand-ins: an authority of their own, and what Google and Apple would hand out."""

from __future__ import annotations

import ipaddress
import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import NameOID

PROJECT = "wishlist-social"
ACCOUNT = f"pusher@{PROJECT}.iam.gserviceaccount.com"
APNS_KEY_ID, APNS_TEAM_ID, APNS_TOPIC = "DEVELOPKEY", "DEVELOTEAM", "com.vantage.shop"
_LIFETIME = timedelta(days=3_650)

Key = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey


def make(folder: Path, port: int) -> None:
    """Fill *folder*: keys once, and the service account each time, as it names the port of its token endpoint."""
    folder.mkdir(exist_ok=True)
    if not (folder / "server.pem").exists():
        _make_certificates(folder)
    if not (folder / "apns.p8").exists():
        write_secret(folder / "apns.p8", _pem(ec.generate_private_key(ec.SECP256R1())))
    account = folder / "service-account.json"
    if account.exists():
        private_key = json.loads(account.read_text())["private_key"]
    else:
        private_key = _pem(rsa.generate_private_key(public_exponent=65537, key_size=2048)).decode()
    content = {
        "type": "service_account",
        "project_id": PROJECT,
        "private_key_id": "development",
        "private_key": private_key,
        "client_email": ACCOUNT,
        "client_id": "1",
        "token_uri": f"https://127.0.0.1:{port}/token",
    }
    write_secret(account, json.dumps(content, indent=2).encode())


def write_secret(path: Path, content: bytes) -> None:
    """Write a file that only its owner may read."""
    path.touch(mode=0o600)
    path.write_bytes(content)


def _make_certificates(folder: Path) -> None:
    authority_key, key = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    authority_name, name = _name("wishlist-social development authority"), _name("127.0.0.1")
    key_id = x509.SubjectKeyIdentifier.from_public_key(authority_key.public_key())
    authority = (
        _certificate(authority_name, authority_name, authority_key)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(key_id, critical=False)
        .add_extension(_usage(signs_certificates=True), critical=True)
    )
    here = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1")), x509.DNSName("localhost")])
    server = (
        _certificate(name, authority_name, key)
        .add_extension(here, critical=False)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(key_id), critical=False)
        .add_extension(_usage(signs_certificates=False), critical=True)
    )
    pem = serialization.Encoding.PEM
    (folder / "ca.pem").write_bytes(authority.sign(authority_key, hashes.SHA256()).public_bytes(pem))
    write_secret(folder / "server.key", _pem(key))
    (folder / "server.pem").write_bytes(server.sign(authority_key, hashes.SHA256()).public_bytes(pem))


def _certificate(name: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePrivateKey) -> x509.CertificateBuilder:
    now = datetime.now(UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + _LIFETIME)
    )


def _usage(*, signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs_certificates,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def _name(common: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common)])


def _pem(key: Key) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
