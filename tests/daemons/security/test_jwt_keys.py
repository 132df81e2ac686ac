"""Where the keys that check JWTs come from: a file, and a key set that is fetched."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, NamedTuple

import jwt
import pytest
import pytest_twisted
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, generate_private_key
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from twisted.internet import reactor
from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.task import Clock
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET, Site

from push.access.jwt import JwtVerifier, load_keys
from push.daemons.config.errors import StartError
from push.daemons.config.settings import Auth
from push.daemons.security.jwt_keys import (
    ASKED_SECONDS,
    MAX_WAITING,
    REFRESH_SECONDS,
    WAIT_SECONDS,
    JwksRefresh,
    make_verifier,
)
from push.wire.errors import RequestError

KEY = generate_private_key(SECP256R1())
NEXT_KEY = generate_private_key(SECP256R1())
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


def key_set(**keys: Any) -> bytes:
    """A set of these keys by their `kid`."""
    jwks = [
        {**json.loads(jwt.algorithms.ECAlgorithm.to_jwk(key.public_key())), "kid": kid}
        for kid, key in keys.items()
    ]
    return json.dumps({"keys": jwks}).encode()


def signed(key: Any, kid: str | None, user: str = "ann") -> str:
    headers = {} if kid is None else {"kid": kid}
    return jwt.encode({**CLAIMS, "sub": user}, key, algorithm="ES256", headers=headers)


class KeySet(Resource):
    """A key set on the web, as long as `content` is set."""

    isLeaf = True

    def __init__(self) -> None:
        super().__init__()
        self.content = key_set(one=KEY)
        self.asked = 0
        self.status = 200
        self.location = ""
        self.holds_back: list[Any] | None = None  # requests, while it is a list

    def render_GET(self, request: Any) -> bytes | int:
        self.asked += 1
        request.setResponseCode(self.status if self.content else 500)
        if self.location:
            request.setHeader("Location", self.location)
        if self.holds_back is not None:
            self.holds_back.append(request)
            return NOT_DONE_YET
        return self.content

    def go_on(self) -> None:
        held, self.holds_back = self.holds_back or [], None
        for request in held:
            request.write(self.content)
            request.finish()


class Fetching(NamedTuple):
    keys: KeySet
    verifier: JwtVerifier
    url: str
    refresh: JwksRefresh
    clock: Clock

    async def user_of(self, text: str) -> str:
        return (await self.verifier.verify_by_latest(text)).user

    async def refused(self, text: str) -> str:
        """The code with which it is refused."""
        with pytest.raises(RequestError) as caught:
            await self.user_of(text)
        return caught.value.code


class _TimeOfTests(Clock):
    """The time of a test, with the real reactor's connections: what is put off waits for us."""

    def __getattr__(self, name: str) -> Any:
        return getattr(reactor, name)


@pytest_twisted.async_yield_fixture
async def fetching() -> AsyncIterator[Fetching]:
    keys = KeySet()
    site: Any = Site(keys)
    port: Any = reactor.listenTCP(0, site, interface="127.0.0.1")  # type: ignore[attr-defined]
    verifier = JwtVerifier([], algorithms=["ES256"], audience="push", issuer=None)
    url, clock = f"http://127.0.0.1:{port.getHost().port}/", _TimeOfTests()
    refresh = JwksRefresh(clock, url, verifier)
    yield Fetching(keys, verifier, url, refresh, clock)
    keys.go_on()
    if refresh.running:
        await refresh.stopService()
    await port.stopListening()


@pytest_twisted.ensureDeferred
async def test_keys_are_rotated_without_a_client_that_is_refused(fetching: Fetching) -> None:
    """A new key is signed with before the set was fetched again by itself."""
    keys, verifier, _, refresh, clock = fetching
    refresh.startService()
    assert await fetching.user_of(signed(KEY, "one")) == "ann", "it waits for the first set"
    keys.content = key_set(one=KEY, two=NEXT_KEY)
    texts = [signed(NEXT_KEY, "two", f"user{number}") for number in range(20)]
    users = await gatherResults(Deferred.fromCoroutine(fetching.user_of(text)) for text in texts)
    assert users == [f"user{number}" for number in range(20)]
    assert keys.asked == 2, "all that wait share a fetch"
    keys.content = key_set(two=NEXT_KEY)
    clock.advance(REFRESH_SECONDS)
    await refresh._refreshes.finished()
    assert verifier.verify(signed(NEXT_KEY, "two")).user == "ann"
    with pytest.raises(RequestError):
        verifier.verify(signed(KEY, "one"))


@pytest_twisted.ensureDeferred
async def test_a_key_that_is_not_known_has_the_set_fetched_once_a_minute_at_most(
    fetching: Fetching,
) -> None:
    fetching.refresh.startService()
    await fetching.user_of(TOKEN)
    for number in range(10):
        assert await fetching.refused(signed(NEXT_KEY, f"guess{number}")) == "unauthenticated"
    assert fetching.keys.asked == 2
    fetching.clock.advance(ASKED_SECONDS)
    fetching.keys.content = key_set(two=NEXT_KEY)
    assert await fetching.user_of(signed(NEXT_KEY, "two")) == "ann"
    assert fetching.keys.asked == 3


@pytest.mark.parametrize(
    "text",
    [
        signed(KEY, "one")[:-8] + "AAAAAAAA",  # a wrong signature of a known key
        signed(NEXT_KEY, None),
        jwt.encode(CLAIMS, "x" * 32, algorithm="HS256", headers={"kid": "other"}),
        jwt.encode({**CLAIMS, "exp": 1}, KEY, algorithm="ES256", headers={"kid": "one"}),
        "no JWT",
    ],
    ids=["signature", "no kid", "algorithm", "expired", "nonsense"],
)
@pytest_twisted.ensureDeferred
async def test_what_no_new_key_would_change_has_nothing_fetched(
    fetching: Fetching, text: str
) -> None:
    fetching.refresh.startService()
    await fetching.user_of(TOKEN)
    assert await fetching.refused(text) == "unauthenticated"
    assert fetching.keys.asked == 1


@pytest_twisted.ensureDeferred
async def test_a_set_that_does_not_come_holds_up_neither_the_start_nor_a_client_for_long(
    fetching: Fetching, wait_until: Any
) -> None:
    keys, _, _, refresh, clock = fetching
    keys.holds_back = []
    refresh.startService()
    waiting = Deferred.fromCoroutine(fetching.refused(signed(KEY, "one")))
    await wait_until(lambda: keys.holds_back)
    assert not waiting.called
    clock.advance(WAIT_SECONDS)
    assert await waiting == "unavailable", "it is not known whether it is good"
    keys.go_on()
    await refresh._refreshes.finished()
    assert await fetching.user_of(signed(KEY, "one")) == "ann"


@pytest_twisted.ensureDeferred
async def test_a_flood_of_keys_that_nobody_has_does_not_wait_for_a_set_that_does_not_come(
    fetching: Fetching, wait_until: Any
) -> None:
    keys, _, _, refresh, clock = fetching
    refresh.startService()
    await fetching.user_of(TOKEN)
    keys.holds_back = []
    flood = [
        Deferred.fromCoroutine(fetching.refused(signed(NEXT_KEY, f"guess{number}")))
        for number in range(MAX_WAITING + 50)
    ]
    await wait_until(lambda: keys.holds_back)
    assert sum(not one.called for one in flood) == MAX_WAITING, "the others know at once"
    clock.advance(WAIT_SECONDS)
    assert set(await gatherResults(flood)) == {"unauthenticated"}
    late = Deferred.fromCoroutine(fetching.refused(signed(NEXT_KEY, "late")))
    assert late.called, "the fetch that is on takes too long already"
    assert await fetching.user_of(TOKEN) == "ann"
    assert keys.asked == 2


@pytest.mark.parametrize(
    ("content", "status", "reason"),
    [
        (b" " * 300_000, 200, "more than 262144 bytes"),
        (b"<html>", 200, "not a JSON Web Key Set"),
        (b'{"keys": 1}', 200, "not a list"),
        (b'{"keys": []}', 200, "has no key"),
        (b'{"keys": [{"kty": "RSA", "n": 5, "e": {}}]}', 200, "no key of the set can be used"),
        (b'{"keys": [' + b"{}," * 100 + b"{}]}", 200, "more than 100 keys"),
        (key_set(two=NEXT_KEY), 404, "status 404"),
        (key_set(two=NEXT_KEY), 302, "status 302"),
    ],
    ids=["large", "html", "number", "empty", "odd", "many", "missing", "elsewhere"],
)
@pytest_twisted.ensureDeferred
async def test_an_answer_that_is_no_set_changes_nothing(
    fetching: Fetching, log_lines: list[str], content: bytes, status: int, reason: str
) -> None:
    fetching.refresh.startService()
    await fetching.user_of(TOKEN)
    fetching.keys.content, fetching.keys.status = content, status
    fetching.keys.location = fetching.url
    assert await fetching.refused(signed(NEXT_KEY, "two")) == "unauthenticated"
    assert await fetching.user_of(TOKEN) == "ann"
    assert reason in "".join(log_lines)
    assert fetching.keys.asked == 2, "no other address is asked"


def test_a_key_of_a_set_is_used_for_what_it_is_for_and_nothing_else() -> None:
    jwk = json.loads(jwt.algorithms.ECAlgorithm.to_jwk(KEY.public_key()))
    for wrong in ({"use": "enc"}, {"alg": "ES384"}):
        with pytest.raises(ValueError, match=r"the set has no key|no key of the set"):
            load_keys(json.dumps({"keys": [{**jwk, **wrong}]}).encode())
    good = {"use": "sig", "alg": "ES256"}
    (key,) = load_keys(json.dumps({"keys": [{**jwk, **good}, {**jwk, "use": "enc"}]}).encode())
    assert key.algorithm == "ES256"


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
    url = f"http://127.0.0.1:{port.getHost().port}/?hush=hush"
    refresh = JwksRefresh(reactor, url, verifier)
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
    assert not [line for line in log_lines if line.startswith("The key set") and "hush" in line]
    assert not [line for line in log_lines if "ClientFactory" in line]
    await refresh.stopService()
    await port.stopListening()
