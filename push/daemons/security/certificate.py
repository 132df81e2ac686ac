"""Certificates of listeners: the configured one, or for devices a self-signed one that is made."""

from __future__ import annotations

import datetime
import fcntl
import ipaddress
import os
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple, Self, TypeVar

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
)
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
from OpenSSL import SSL

from push.daemons.config.errors import StartError
from push.daemons.config.settings import Connector, Http
from push.daemons.process.data_folder import create_once, make_data_folder
from push.daemons.security.tls_context import make_context

SELF_SIGNED_DAYS = 3650
CERTIFICATE_NAME = "server.crt"
KEY_NAME = "server.key"

T = TypeVar("T")


class Identity(NamedTuple):
    """What a listener shows to clients, and the CAs of the clients that it admits."""

    chain: list[x509.Certificate]
    key: PrivateKeyTypes
    client_authorities: list[x509.Certificate]


class ServerTls(NamedTuple):
    """What a TLS listener needs, and what its log line says."""

    context: SSL.Context
    identity: Identity
    certificate_path: Path
    self_signed: bool

    @property
    def fingerprint(self) -> str:
        """SHA-256 of the certificate, as `AB:CD:…`: as `openssl x509 -fingerprint -sha256`."""
        return self.identity.chain[0].fingerprint(hashes.SHA256()).hex(":").upper()

    @property
    def not_after(self) -> datetime.datetime:
        """When the first certificate of the chain ends."""
        return min(each.not_valid_after_utc for each in self.identity.chain)

    def renewed(self) -> Self:
        """The same with a context of its own, and so with another key for tickets."""
        return self._replace(context=make_context(*self.identity))

    def __str__(self) -> str:
        return (
            f"certificate {self.certificate_path}, valid to {self.not_after:%Y-%m-%d}, "
            f"SHA-256 {self.fingerprint}"
        )


def load_server_tls(connector: Connector, folder: Path, *, make: bool = True) -> ServerTls:
    """The configured certificate, else the one in the data folder; raises `StartError`.

    With `make` that one is made where neither it nor its key is there. Where one of the two is
    missing nothing is made: a new one would be another identity than devices may have pinned.
    """
    if connector.certificate:
        certificate_path = Path(connector.certificate).expanduser()
        key_path = Path(connector.private_key).expanduser()
    else:
        certificate_path, key_path = folder / CERTIFICATE_NAME, folder / KEY_NAME
        if make:
            _make_if_missing(certificate_path, key_path)
        _check_both_there(certificate_path, key_path)
    return _load(certificate_path, key_path, connector.client_ca, not connector.certificate)


def load_http_tls(http: Http) -> ServerTls:
    """The certificate of the HTTP API, which must be configured; raises `StartError`."""
    certificate_path, key_path = Path(http.certificate), Path(http.private_key)
    return _load(certificate_path.expanduser(), key_path.expanduser(), "", self_signed=False)


def _load(certificate_path: Path, key_path: Path, client_ca: str, self_signed: bool) -> ServerTls:
    chain = _read_certificates(certificate_path)
    key = _read(key_path, _load_private_key, "a PEM private key without a passphrase")
    if _public_bytes(key.public_key()) != _public_bytes(chain[0].public_key()):
        raise StartError(f"the key {key_path} is not that of the certificate {certificate_path}")
    authorities = _read_certificates(Path(client_ca).expanduser()) if client_ca else []
    identity = Identity(chain, key, authorities)
    try:
        # Now, so that what OpenSSL refuses is seen before anything listens.
        context = make_context(*identity)
    except (SSL.Error, TypeError, ValueError) as error:
        raise StartError(f"{certificate_path} cannot be used for TLS: {error}") from None
    return ServerTls(context, identity, certificate_path, self_signed)


def _read_certificates(path: Path) -> list[x509.Certificate]:
    return _read(path, x509.load_pem_x509_certificates, "a PEM certificate")


def _read(path: Path, parse: Callable[[bytes], T], what: str) -> T:
    try:
        return parse(path.read_bytes())
    except OSError as error:
        raise StartError(f"{path}: {error.strerror}") from None
    except (ValueError, TypeError):  # TypeError: the key is encrypted
        raise StartError(f"{path} does not hold {what}") from None


def _load_private_key(content: bytes) -> PrivateKeyTypes:
    return load_pem_private_key(content, password=None)


def _public_bytes(key: object) -> bytes:
    public: bytes = key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)  # type: ignore[attr-defined]
    return public


def _check_both_there(certificate_path: Path, key_path: Path) -> None:
    missing = [path for path in (certificate_path, key_path) if not os.path.exists(path)]
    if len(missing) == 2:
        raise StartError(
            f"{certificate_path} and {key_path.name} are missing: put them back; a start makes "
            "new ones"
        )
    if missing:
        (there,) = {certificate_path, key_path} - set(missing)
        raise StartError(
            f"{missing[0]} is missing and {there.name} is there: put it back, or delete "
            f"{there.name} and start again: both are made again"
        )


def _make_if_missing(certificate_path: Path, key_path: Path) -> None:
    """Make the pair if neither is there. Of several starts at once one makes it, others wait."""
    folder = certificate_path.parent
    make_data_folder(folder)
    try:
        with _locked(folder):
            if os.path.exists(certificate_path) or os.path.exists(key_path):
                return
            key = ec.generate_private_key(ec.SECP256R1())
            pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
            certificate = self_signed(key, socket.gethostname())
            create_once(key_path, pem, mode=0o600)
            create_once(certificate_path, certificate.public_bytes(Encoding.PEM), mode=0o644)
    except OSError as error:
        raise StartError(f"{certificate_path}: {error.strerror}") from None


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def self_signed(
    key: ec.EllipticCurvePrivateKey, host_name: str, days: int = SELF_SIGNED_DAYS
) -> x509.Certificate:
    """A certificate for this machine, for ten years: for development and for pinning."""
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "push (self-signed)")])
    now = datetime.datetime.now(datetime.UTC)
    names: list[x509.GeneralName] = [
        x509.DNSName(dns) for dns in dict.fromkeys(["localhost", _dns_name(host_name)]) if dns
    ]
    names += [x509.IPAddress(ipaddress.ip_address(text)) for text in ("127.0.0.1", "::1")]
    return (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        # An hour earlier, for clients whose clock is behind.
        .not_valid_before(now - datetime.timedelta(hours=1))
        .not_valid_after(now + datetime.timedelta(days=days))
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .sign(key, hashes.SHA256())
    )


def _dns_name(host_name: str) -> str:
    """The host's name if a certificate can have it, else ""."""
    plain = host_name.replace("-", "").replace(".", "")
    return host_name if plain.isascii() and plain.isalnum() else ""
