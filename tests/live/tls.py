"""Certificates for tests, and `openssl s_client` as a client of a started daemon."""

from __future__ import annotations

import datetime
import ipaddress
import subprocess
from pathlib import Path
from typing import NamedTuple

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from tests.waiting import DEADLINE_SECONDS, wait_for

Key = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey


class Pair(NamedTuple):
    """Files with a certificate and its key."""

    certificate: Path
    key: Path


class Authority:
    """A CA in a folder; `ca_file` is its certificate."""

    def __init__(self, folder: Path, name: str) -> None:
        self._folder = folder
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        self._key = ec.generate_private_key(ec.SECP256R1())
        builder = _builder(self._name, self._name, self._key, 90)
        certificate = builder.add_extension(x509.BasicConstraints(True, None), critical=True)
        self.ca_file = folder / f"{name}.pem"
        signed = certificate.sign(self._key, hashes.SHA256())
        self.ca_file.write_bytes(signed.public_bytes(Encoding.PEM))

    def sign(
        self, name: str, *, days: int = 90, kind: type[Key] = ec.EllipticCurvePrivateKey
    ) -> Pair:
        """A certificate for this machine, or for a client of it."""
        key: Key
        if kind is rsa.RSAPrivateKey:
            key = rsa.generate_private_key(65537, 2048)
        else:
            key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        loopback = x509.IPAddress(ipaddress.ip_address("127.0.0.1"))
        usage = x509.ExtendedKeyUsage(
            [ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]
        )
        builder = (
            _builder(subject, self._name, key, days)
            .add_extension(x509.SubjectAlternativeName([loopback]), critical=False)
            .add_extension(usage, critical=False)
        )
        pair = Pair(self._folder / f"{name}.crt", self._folder / f"{name}.key")
        signed = builder.sign(self._key, hashes.SHA256())
        pair.certificate.write_bytes(signed.public_bytes(Encoding.PEM))
        pair.key.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
        return pair


def _builder(subject: x509.Name, issuer: x509.Name, key: Key, days: int) -> x509.CertificateBuilder:
    now = datetime.datetime.now(datetime.UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(hours=1))
        .not_valid_after(now + datetime.timedelta(days=days))
    )


class Client:
    """`openssl s_client`, which checks the server's certificate by `ca_file`."""

    def __init__(self, port: int, ca_file: Path) -> None:
        self._command = [
            *("openssl", "s_client", "-connect", f"127.0.0.1:{port}", "-verify_return_error"),
            *("-CAfile", str(ca_file)),
        ]

    def connect(self, *options: str) -> tuple[bool, str]:
        """Whether there was a handshake, and what openssl says of it."""
        ran = subprocess.run(
            [*self._command, *options],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=DEADLINE_SECONDS,
            check=False,
        )
        return ran.returncode == 0, ran.stdout

    def until_closed(self, *options: str) -> str:
        """What openssl says until the server ends the connection. With TLS 1.3 a client learns
        that it is refused only when it reads."""
        with subprocess.Popen(
            [*self._command, *options],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        ) as process:
            assert process.stdout is not None
            return process.stdout.read()

    def keep_session(self, path: Path, *options: str) -> str:
        """Connect, wait for a ticket and keep it in `path`; what openssl says."""
        path.unlink(missing_ok=True)
        with subprocess.Popen(
            [*self._command, *options, "-sess_out", str(path)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        ) as process:
            wait_for(lambda: path.exists() and "END SSL SESSION" in path.read_text())
            said, _ = process.communicate(timeout=DEADLINE_SECONDS)
            return said
