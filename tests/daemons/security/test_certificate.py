"""The connector's certificate: made when none is given, and checked when one is."""

from __future__ import annotations

import datetime
import ipaddress
import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import pytest_twisted
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
)
from msgspec.structs import replace
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import HostnameEndpoint, connectProtocol, wrapClientTLS
from twisted.internet.interfaces import IHandshakeListener
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.ssl import Certificate, optionsForClientTLS
from zope.interface import implementer

from push.daemons.config.errors import StartError
from push.daemons.config.settings import Connector
from push.daemons.security.certificate import load_server_tls, self_signed
from push.daemons.security.serving import ServingTls

UNSET = Connector()


def write_pair(folder: Path, name: str = "a") -> Connector:
    key = ec.generate_private_key(ec.SECP256R1())
    (folder / f"{name}.crt").write_bytes(self_signed(key, "host").public_bytes(Encoding.PEM))
    (folder / f"{name}.key").write_bytes(
        key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    )
    return Connector(
        certificate=str(folder / f"{name}.crt"), private_key=str(folder / f"{name}.key")
    )


def test_without_a_certificate_a_self_signed_pair_is_made_and_kept(tmp_path: Path) -> None:
    data = tmp_path / "data"
    first, second = load_server_tls(UNSET, data), load_server_tls(UNSET, data)
    assert first.self_signed
    assert first.fingerprint == second.fingerprint
    certificate = x509.load_pem_x509_certificate((data / "server.crt").read_bytes())
    key = certificate.public_key()
    assert isinstance(key, ec.EllipticCurvePublicKey)
    assert key.curve.name == "secp256r1"
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert "localhost" in names.get_values_for_type(x509.DNSName)
    assert set(map(ipaddress.ip_address, ("127.0.0.1", "::1"))) == set(
        names.get_values_for_type(x509.IPAddress)
    )
    years = certificate.not_valid_after_utc - datetime.datetime.now(datetime.UTC)
    assert years > datetime.timedelta(days=3640)
    assert first.not_after == certificate.not_valid_after_utc
    assert stat.S_IMODE((data / "server.key").stat().st_mode) == 0o600


def test_a_configured_certificate_is_used(tmp_path: Path) -> None:
    tls = load_server_tls(write_pair(tmp_path), tmp_path / "data")
    assert not tls.self_signed
    assert tls.certificate_path == tmp_path / "a.crt"
    assert not (tmp_path / "data").exists()


@pytest_twisted.ensureDeferred
async def test_a_client_that_trusts_the_certificate_connects_by_name(tmp_path: Path) -> None:
    from twisted.internet import reactor

    tls = load_server_tls(UNSET, tmp_path)
    port = reactor.listenSSL(
        0, Factory.forProtocol(Protocol), ServingTls(tls), interface="127.0.0.1"
    )
    trust = Certificate.loadPEM(tls.certificate_path.read_bytes())
    endpoint = wrapClientTLS(
        optionsForClientTLS("localhost", trustRoot=trust),
        HostnameEndpoint(reactor, "127.0.0.1", port.getHost().port),
    )
    client = Handshake()
    await connectProtocol(endpoint, client)
    version, fingerprint = await client.done
    assert version in ("TLSv1.2", "TLSv1.3")
    assert fingerprint == tls.fingerprint
    client.transport.abortConnection()
    await client.lost
    await port.stopListening()


@implementer(IHandshakeListener)
class Handshake(Protocol):
    """Says what the handshake has led to: the version, and the server's fingerprint."""

    def __init__(self) -> None:
        self.done: Deferred[tuple[str, str]] = Deferred()
        self.lost: Deferred[None] = Deferred()

    def handshakeCompleted(self) -> None:
        connection = self.transport.getHandle()
        certificate = connection.get_peer_certificate(as_cryptography=True)
        fingerprint = certificate.fingerprint(hashes.SHA256()).hex(":").upper()
        self.done.callback((connection.get_protocol_version_name(), fingerprint))

    def connectionLost(self, reason: object = None) -> None:
        self.lost.callback(None)


def test_a_renewed_one_is_the_same_to_clients_with_a_context_of_its_own(tmp_path: Path) -> None:
    tls = load_server_tls(UNSET, tmp_path)
    renewed = tls.renewed()
    assert renewed.context is not tls.context
    assert str(renewed) == str(tls)
    assert renewed.identity is tls.identity


def test_a_chain_ends_with_the_first_of_its_certificates(tmp_path: Path) -> None:
    good = write_pair(tmp_path)
    other = ec.generate_private_key(ec.SECP256R1())
    earlier = self_signed(other, "host", days=3)
    with open(good.certificate, "ab") as file:
        file.write(earlier.public_bytes(Encoding.PEM))
    assert load_server_tls(good, tmp_path).not_after == earlier.not_valid_after_utc


def test_the_authorities_of_clients_must_be_certificates(tmp_path: Path) -> None:
    good = write_pair(tmp_path)
    (tmp_path / "bad").write_text("nothing")
    for path, problem in (("/no.pem", "/no.pem: No such"), (tmp_path / "bad", "a PEM certificate")):
        with pytest.raises(StartError, match=problem):
            load_server_tls(replace(good, client_ca=str(path)), tmp_path)
    tls = load_server_tls(replace(good, client_ca=good.certificate), tmp_path)
    assert len(tls.identity.client_authorities) == 1


def test_a_key_of_another_certificate_is_refused(tmp_path: Path) -> None:
    write_pair(tmp_path, "a")
    write_pair(tmp_path, "b")
    mixed = Connector(certificate=str(tmp_path / "a.crt"), private_key=str(tmp_path / "b.key"))
    with pytest.raises(StartError, match=r"the key .*b.key is not that of the certificate .*a.crt"):
        load_server_tls(mixed, tmp_path)


def test_files_that_are_missing_or_hold_something_else_are_named(tmp_path: Path) -> None:
    good = write_pair(tmp_path)
    (tmp_path / "bad").write_text("nothing")
    for connector, problem in [
        (Connector(certificate="/no.crt", private_key="/no.key"), "/no.crt: No such file"),
        (Connector(certificate=str(tmp_path / "bad"), private_key="/no"), "a PEM certificate"),
        (Connector(certificate=good.certificate, private_key="/no.key"), "/no.key: No such file"),
        (
            Connector(certificate=good.certificate, private_key=str(tmp_path / "bad")),
            "bad does not hold a PEM private key without a passphrase",
        ),
    ]:
        with pytest.raises(StartError, match=problem):
            load_server_tls(connector, tmp_path)


def test_an_encrypted_key_is_refused_without_asking_for_its_passphrase(tmp_path: Path) -> None:
    good = write_pair(tmp_path)
    key = rsa.generate_private_key(65537, 2048)
    Path(good.private_key).write_bytes(
        key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"secret"))
    )
    with pytest.raises(StartError, match="without a passphrase"):
        load_server_tls(good, tmp_path)


@pytest.mark.parametrize("make", [True, False], ids=["start", "reload"])
@pytest.mark.parametrize(
    ("missing", "left"), [("server.crt", "server.key"), ("server.key", "server.crt")]
)
def test_half_a_pair_is_refused_and_nothing_is_made(
    missing: str, left: str, make: bool, tmp_path: Path
) -> None:
    load_server_tls(UNSET, tmp_path)
    (tmp_path / missing).unlink()
    before = (tmp_path / left).read_bytes()
    with pytest.raises(StartError, match=f"{missing} is missing and {left} is there") as caught:
        load_server_tls(UNSET, tmp_path, make=make)
    assert "\n" not in str(caught.value)
    assert [path.name for path in tmp_path.iterdir()] == [left]
    assert (tmp_path / left).read_bytes() == before


def test_a_foreign_key_gets_no_certificate(tmp_path: Path) -> None:
    pair = write_pair(tmp_path, "server")
    Path(pair.certificate).unlink()
    with pytest.raises(StartError, match=r"server\.crt is missing and server\.key is there"):
        load_server_tls(UNSET, tmp_path)
    assert not Path(pair.certificate).exists()


def test_a_reload_makes_no_pair(tmp_path: Path) -> None:
    with pytest.raises(StartError, match=r"server\.crt and server\.key are missing"):
        load_server_tls(UNSET, tmp_path, make=False)
    assert not list(tmp_path.iterdir())


def test_starts_at_the_same_time_agree_on_one_pair(tmp_path: Path) -> None:
    with ThreadPoolExecutor(8) as pool:
        made = list(pool.map(lambda _: load_server_tls(UNSET, tmp_path), range(8)))
    assert len({tls.fingerprint for tls in made}) == 1
