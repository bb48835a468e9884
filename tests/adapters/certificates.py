"""Certificates of an authority of the test's own."""

from __future__ import annotations

import datetime
import ipaddress
import ssl
from pathlib import Path
from typing import NamedTuple

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

DAY = datetime.timedelta(days=1)


class Authority(NamedTuple):
    """Its certificate, its key, and the file that trusts it."""

    certificate: x509.Certificate
    key: ec.EllipticCurvePrivateKey
    path: Path


def _begin(name: str, key: ec.EllipticCurvePrivateKey, issuer: str) -> x509.CertificateBuilder:
    now = datetime.datetime.now(datetime.UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)]))
        .issuer_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, issuer)]))
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - DAY)
        .not_valid_after(now + DAY)
    )


def make_authority(folder: Path) -> Authority:
    """Make one, and write the file."""
    key = ec.generate_private_key(ec.SECP256R1())
    builder = _begin("authority", key, "authority").add_extension(x509.BasicConstraints(True, 0), critical=True)
    certificate = builder.sign(key, hashes.SHA256())
    path = folder / "authority.pem"
    path.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    return Authority(certificate, key, path)


def make_server_context(authority: Authority, name: str, folder: Path) -> ssl.SSLContext:
    """Make what a server of this name, or of this address, shows."""
    key = ec.generate_private_key(ec.SECP256R1())
    known: x509.GeneralName
    try:
        known = x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        known = x509.DNSName(name)
    builder = _begin(name, key, "authority").add_extension(x509.SubjectAlternativeName([known]), critical=False)
    certificate = builder.sign(authority.key, hashes.SHA256())
    path = folder / f"{name}.pem"
    path.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
        + certificate.public_bytes(serialization.Encoding.PEM)
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(path)
    return context
