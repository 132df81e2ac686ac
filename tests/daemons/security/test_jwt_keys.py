"""Where the keys that check JWTs come from: a file, and a key set that is fetched."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jwt
import pytest
import pytest_twisted
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, generate_private_key
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from twisted.internet import reactor
from twisted.web.resource import Resource
from twisted.web.server import Site

from push.access.jwt import JwtVerifier
from push.daemons.config.errors import StartError
from push.daemons.config.settings import Auth
from push.daemons.security.jwt_keys import JwksRefresh, make_verifier
from push.wire.errors import RequestError

KEY = generate_private_key(SECP256R1())
CLAIMS = {"sub": "ann", "aud": "push", "exp": 4_000_000_000}
TOKEN = jwt.encode(CLAIMS, KEY, algorithm="ES256")


def write(folder: Path, content: bytes) -> str:
    path = folder / "key"
    path.write_bytes(content)
    return str(path)


def public_pem() -> bytes:
    return KEY.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)


def test_a_pem_file_checks_jwts(tmp_path: Path) -> None:
    verifier = make_verifier(Auth(jwt_key_file=write(tmp_path, public_pem())))
    assert verifier.verify(TOKEN).user == "ann"


def test_without_a_key_every_jwt_is_refused() -> None:
    with pytest.raises(RequestError, match="no configured key"):
        make_verifier(Auth()).verify(TOKEN)


@pytest.mark.parametrize("content", [b"short", b"-----BEGIN PUBLIC KEY-----\nxx\n", b'{"keys":[]}'])
def test_a_file_that_is_no_key_is_a_start_error_that_names_it(
    tmp_path: Path, content: bytes
) -> None:
    path = write(tmp_path, content)
    with pytest.raises(StartError, match="jwt_key_file") as raised:
        make_verifier(Auth(jwt_key_file=path))
    assert path in str(raised.value)


def test_a_key_for_an_algorithm_that_is_not_allowed_is_a_start_error(tmp_path: Path) -> None:
    auth = Auth(jwt_key_file=write(tmp_path, public_pem()), jwt_algorithms=("HS256",))
    with pytest.raises(StartError, match="ES256"):
        make_verifier(auth)


class KeySet(Resource):
    """A key set on the web, as long as `content` is set."""

    isLeaf = True

    def __init__(self) -> None:
        super().__init__()
        jwk = json.loads(jwt.algorithms.ECAlgorithm.to_jwk(KEY.public_key()))
        self.content = json.dumps({"keys": [{**jwk, "kid": "one"}]}).encode()

    def render_GET(self, request: Any) -> bytes:
        if not self.content:
            request.setResponseCode(500)
        return self.content


@pytest_twisted.ensureDeferred
async def test_a_key_set_is_fetched_and_stays_valid_while_it_cannot_be(
    wait_until: Any, log_lines: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The set of the last good answer holds; that it is away is said once."""
    monkeypatch.setattr("push.daemons.security.jwt_keys.REFRESH_SECONDS", 0.01)
    monkeypatch.setattr("push.daemons.security.jwt_keys.RETRY_SECONDS", 0.01)
    keys = KeySet()
    site: Any = Site(keys)
    port: Any = reactor.listenTCP(0, site, interface="127.0.0.1")  # type: ignore[attr-defined]
    verifier = JwtVerifier([], algorithms=["ES256"], audience="push", issuer=None)
    refresh = JwksRefresh(reactor, f"http://127.0.0.1:{port.getHost().port}/", verifier)
    refresh.startService()

    def accepted() -> bool:
        try:
            return verifier.verify(TOKEN).user == "ann"
        except RequestError:
            return False

    await wait_until(accepted)
    keys.content = b""
    await wait_until(lambda: any("cannot be fetched" in line for line in log_lines))
    assert accepted()
    keys.content = KeySet().content
    await wait_until(lambda: any("was fetched again" in line for line in log_lines))
    assert sum("cannot be fetched" in line for line in log_lines) == 1
    await refresh.stopService()
    await port.stopListening()
