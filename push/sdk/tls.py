"""TLS for the clients: verified against the system's CAs, a CA file, or a pinned fingerprint.

There is no way to switch verification off.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import ssl
from pathlib import Path

from push.sdk.errors import CertificateUntrusted, ConfigurationError

_SHA256_HEX = re.compile(r"[0-9a-f]{64}")


def parse_fingerprint(text: str) -> bytes:
    """SHA-256 of a certificate (DER), in hex with or without colons or spaces."""
    digits = re.sub(r"[:\s]", "", text).lower()
    if not _SHA256_HEX.fullmatch(digits):
        raise ConfigurationError(
            "fingerprint: 64 hexadecimal digits (SHA-256 of the certificate) are expected"
        )
    return bytes.fromhex(digits)


def certificate_fingerprint(pem_file: Path) -> str:
    """The fingerprint of the first certificate in `pem_file`, as openssl prints it.

    Raises OSError, and `ConfigurationError` when there is no certificate in it.
    """
    text = pem_file.read_text(encoding="ascii", errors="replace")
    found = re.search(r"-----BEGIN CERTIFICATE-----.*?-----END CERTIFICATE-----", text, re.DOTALL)
    try:
        der = ssl.PEM_cert_to_DER_cert(found.group() + "\n") if found else b""
    except ValueError:
        der = b""
    if not der:
        raise ConfigurationError(f"{pem_file}: no certificate in PEM form")
    return hashlib.sha256(der).digest().hex(":").upper()


def trusting_nobody() -> ssl.SSLContext:
    """For a client of plain `http://`, which takes no part in TLS.

    Without it httpx loads the system's CAs: 20 ms in which nothing else of the event loop runs. A
    process with a thousand devices whose connector was killed asks for servers a thousand times.
    """
    return ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)


def client_context(ca_file: str | None = None, *, pinned: bool = False) -> ssl.SSLContext:
    """A context for TLS 1.2 and newer.

    With `pinned` and no `ca_file` the chain and the name are not judged, because the caller
    compares the certificate itself (`check_fingerprint`) before it sends anything.
    """
    try:
        context = ssl.create_default_context(cafile=ca_file)
    except (OSError, ssl.SSLError) as error:
        raise ConfigurationError(f"ca_file {ca_file!r}: {error}") from None
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    if pinned and ca_file is None:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context


def check_fingerprint(certificate_der: bytes | None, expected: bytes) -> None:
    """Raises `CertificateUntrusted` unless the certificate is the pinned one."""
    if certificate_der is None:
        raise CertificateUntrusted("the server showed no certificate")
    digest = hashlib.sha256(certificate_der).digest()
    if not hmac.compare_digest(digest, expected):
        shown = digest.hex(":").upper()
        raise CertificateUntrusted(f"the server's certificate has another fingerprint: {shown}")
