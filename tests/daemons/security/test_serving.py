"""Certificates while a daemon runs: new keys for tickets, and what is said of those that end."""

from __future__ import annotations

import datetime
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from prometheus_client import generate_latest
from twisted.internet.task import Clock

from push.daemons.config.settings import Http
from push.daemons.metrics.registry import make_registry
from push.daemons.security.certificate import ServerTls, load_http_tls, self_signed
from push.daemons.security.serving import Certificates
from push.daemons.security.tls_context import TICKET_KEY_SECONDS
from push.daemons.services.banner import lines_to_try


def tls_of(folder: Path, days: int, name: str = "a") -> ServerTls:
    key = ec.generate_private_key(ec.SECP256R1())
    certificate, key_file = folder / f"{name}.crt", folder / f"{name}.key"
    certificate.write_bytes(self_signed(key, "host", days).public_bytes(Encoding.PEM))
    key_file.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    return load_http_tls(Http(certificate=str(certificate), private_key=str(key_file)))


@pytest.fixture
def certificates() -> Any:
    clock = Clock()
    found: Any = Certificates(clock)
    found.clock = clock
    found.startService()
    yield found
    found.stopService()
    assert not clock.getDelayedCalls()


def test_every_twelve_hours_a_context_takes_the_place_of_the_one_before(
    certificates: Any, tmp_path: Path
) -> None:
    serving = certificates.add("http", tls_of(tmp_path, 90))
    seen = [serving.now.context]
    for _ in range(3):
        certificates.clock.advance(TICKET_KEY_SECONDS - 1)
        assert serving.now.context is seen[-1]
        certificates.clock.advance(1)
        seen.append(serving.now.context)
    assert len(set(map(id, seen))) == 4
    used = serving.serverConnectionForTLS(None)
    assert used.get_context() is serving.now.context


@pytest.mark.parametrize(
    ("days", "said"),
    [(90, None), (15, None), (13, "in 12 days"), (0, "has ended on")],
)
def test_one_that_ends_within_two_weeks_is_named(
    certificates: Any, tmp_path: Path, days: int, said: str | None
) -> None:
    certificates.add("connector", tls_of(tmp_path, 400))
    certificates.add("http", tls_of(tmp_path, days, "b"))
    notes = certificates.notes()
    if said is None:
        assert notes == []
    else:
        (note,) = notes
        assert str(tmp_path / "b.crt") in note
        assert " of http " in note
        assert said in note
    certificates.replace("http", tls_of(tmp_path, 90, "b"))
    assert certificates.notes() == []


def test_its_end_is_a_metric(certificates: Any, tmp_path: Path) -> None:
    tls = tls_of(tmp_path, 90)
    certificates.add("http", tls)
    text = generate_latest(make_registry(None, certificates.ends)).decode()
    name = 'push_certificate_expiry_timestamp_seconds{listener="http"}'
    (line,) = [line for line in text.splitlines() if line.startswith(name)]
    assert float(line.split()[-1]) == tls.not_after.timestamp()
    assert tls.not_after > datetime.datetime.now(datetime.UTC)


def test_a_client_must_be_given_the_file_of_one_that_no_ca_has_signed(
    certificates: Any, tmp_path: Path
) -> None:
    assert certificates.ca_file("http") is None
    certificates.add("http", tls_of(tmp_path, 90))
    assert certificates.ca_file("http") == tmp_path / "a.crt"
    (try_it, *_) = [
        line
        for line in lines_to_try("https://h:1", [], {"api"}, {}, certificates.ca_file("http"))
        if "curl" in line
    ]
    assert try_it.strip().startswith("curl --cacert ")
    assert try_it.endswith(" https://h:1/readyz")
