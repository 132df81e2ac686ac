"""JSON Web Tokens of users (protocol.md, "JWT"): which keys there are, and whose signature counts.

PyJWT checks signatures and nothing else: a JWT is read by `push.access.claims`, and only once.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import jwt
import msgspec
from cryptography.hazmat.primitives.asymmetric.ec import (
    SECP256R1,
    EllipticCurvePrivateKey,
    EllipticCurvePublicKey,
)
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, RSAPublicKey
from cryptography.hazmat.primitives.serialization import load_pem_public_key
from cryptography.x509 import load_pem_x509_certificate

from push.access.claims import (
    Claims,
    Header,
    JwtAlgorithm,
    check_claims,
    jwt_refusal,
    read_header,
    read_segment,
)
from push.wire.bodies import check_json_text
from push.wire.errors import MAX_FIELD_CHARACTERS, RequestError, shortened

# Each may have to be tried for a JWT without a `kid`.
MAX_KEYS = 100
LEEWAY_SECONDS = 60
MIN_HMAC_BYTES = 32

_ALGORITHMS: dict[str, Any] = jwt.algorithms.get_default_algorithms()


class VerificationKey(msgspec.Struct, frozen=True):
    """A key with the one algorithm that its type fits, and its `kid` if it has one."""

    algorithm: JwtAlgorithm
    material: Any  # of a type that PyJWT takes: `algorithm_of` has judged it
    kid: str | None = None


def algorithm_of(material: object) -> JwtAlgorithm:
    """The algorithm that a key of this type is for; ValueError for a type that none is for."""
    if isinstance(material, RSAPublicKey):
        return "RS256"
    if isinstance(material, EllipticCurvePublicKey) and isinstance(material.curve, SECP256R1):
        return "ES256"
    if isinstance(material, Ed25519PublicKey):
        return "EdDSA"
    if isinstance(material, bytes):
        if len(material) < MIN_HMAC_BYTES:
            raise ValueError(f"an HS256 key needs at least {MIN_HMAC_BYTES} bytes")
        return "HS256"
    raise ValueError(f"a key of type {type(material).__name__} fits none of the algorithms")


def load_keys(text: bytes) -> list[VerificationKey]:
    """Keys from a file: a PEM public key or certificate, a JWK or JWKS, or an HS256 secret.

    Raises ValueError with what is wrong.
    """
    stripped = text.strip()
    if stripped.startswith(b"-----BEGIN CERTIFICATE"):
        return [_key(load_pem_x509_certificate(stripped).public_key())]
    if stripped.startswith(b"-----BEGIN"):
        if b"PRIVATE KEY" in stripped[:64]:
            raise ValueError("this is a private key; the public key is enough and is wanted")
        return [_key(load_pem_public_key(stripped))]
    if stripped.startswith(b"{"):
        check_json_text(stripped)  # a key set may come from the web
        return _keys_of_jwks(msgspec.json.decode(stripped))
    return [_key(stripped)]


def _key(material: object, kid: str | None = None) -> VerificationKey:
    key = VerificationKey(algorithm_of(material), material, kid)
    try:
        _ALGORITHMS[key.algorithm].prepare_key(material)
    except jwt.PyJWTError as error:  # a secret that is a public key in another format
        raise ValueError(str(error)) from None
    return key


def _keys_of_jwks(document: dict[str, Any]) -> list[VerificationKey]:
    """Keys of a set that are for something else are passed over (RFC 7517, section 5)."""
    items = document.get("keys", [document])
    if not isinstance(items, list) or not all(isinstance(item, dict) for item in items):
        raise ValueError("`keys` of the set is not a list of objects")
    if len(items) > MAX_KEYS:
        raise ValueError(f"the set has more than {MAX_KEYS} keys")
    keys = []
    reason = "the set has no key"
    for item in items:
        if item.get("use", "sig") != "sig":
            continue
        try:
            key = _key(_public(jwt.PyJWK(item).key), item.get("kid"))
        except (jwt.PyJWTError, ValueError, TypeError) as error:
            reason = f"no key of the set can be used: {error}"
            continue
        if item.get("alg", key.algorithm) == key.algorithm:
            keys.append(key)
        else:  # what its owner says that it is for
            reason = "no key of the set is for an algorithm that is known"
    if not keys:
        raise ValueError(reason)
    return keys


def _public(material: object) -> object:
    private = (RSAPrivateKey, EllipticCurvePrivateKey, Ed25519PrivateKey)
    return material.public_key() if isinstance(material, private) else material


# Fetches a key set, for a key that is not known. Raises `RequestError` `unavailable` while there is
# none at all.
Fetch = Callable[[], Awaitable[None]]


class JwtVerifier:
    """Accepts JWTs of the configured keys; without a key it refuses every one.

    `fetch` is set where a key set is fetched from time to time (`replace_fetched`).
    """

    def __init__(
        self,
        keys: Sequence[VerificationKey],
        *,
        algorithms: Sequence[str],
        audience: str,
        issuer: str | None,
    ) -> None:
        self.fetch: Fetch | None = None
        self._fetched: list[VerificationKey] = []
        self.configure(keys, algorithms=algorithms, audience=audience, issuer=issuer)

    def configure(
        self,
        keys: Sequence[VerificationKey],
        *,
        algorithms: Sequence[str],
        audience: str,
        issuer: str | None,
    ) -> None:
        """What the configuration says, from now on. Keys that were fetched stay."""
        self._algorithms = frozenset(algorithms)
        self._fixed = self._usable(keys)
        self._fetched = self._usable(self._fetched)
        self._audience = audience
        self._issuer = issuer

    def _usable(self, keys: Sequence[VerificationKey]) -> list[VerificationKey]:
        return [key for key in keys if key.algorithm in self._algorithms]

    def replace_fetched(self, keys: Sequence[VerificationKey]) -> None:
        """The keys of a key set that is fetched from time to time, beside the fixed ones."""
        self._fetched = self._usable(keys)

    async def verify_by_latest(self, text: str) -> Claims:
        """As `verify`, but a JWT of a key that is not known may have the key set fetched first.

        Raises `RequestError` `unauthenticated`, or `unavailable` while there is no key set yet.
        """
        try:
            return self.verify(text)
        except RequestError:
            if self.fetch is None or not self._lacks_key_of(text):
                raise
        await self.fetch()
        return self.verify(text)

    def _lacks_key_of(self, text: str) -> bool:
        header = read_header(text)
        if header.alg not in self._algorithms:
            return False
        known = [key.kid for key in (*self._fixed, *self._fetched) if key.algorithm == header.alg]
        return not self._fetched if header.kid is None else header.kid not in known

    def verify(self, text: str) -> Claims:
        """The claims of a JWT; raises `RequestError` `unauthenticated` that says what is wrong."""
        header = read_header(text)
        payload = self._signed_payload(text, header)
        return check_claims(
            payload,
            audience=self._audience,
            issuer=self._issuer,
            now_seconds=time.time(),
            leeway_seconds=LEEWAY_SECONDS,
        )

    def _signed_payload(self, text: str, header: Header) -> bytes:
        """The payload, whose signature is right; raises `RequestError` `unauthenticated`."""
        known = [*self._fixed, *self._fetched]
        keys = [key for key in known if key.algorithm == header.alg]
        if header.kid is not None and any(key.kid == header.kid for key in keys):
            keys = [key for key in keys if key.kid == header.kid]
        if not keys:
            algorithm = shortened(header.alg, MAX_FIELD_CHARACTERS)
            raise jwt_refusal(f"no configured key is for the algorithm {algorithm!r}")
        signed, _, signature_segment = text.rpartition(".")
        payload = read_segment(signed.partition(".")[2], "payload")
        signature = read_segment(signature_segment, "signature")
        if not any(_is_signature(key, signed.encode(), signature) for key in keys):
            raise jwt_refusal("the signature is not one of a configured key")
        return payload


def _is_signature(key: VerificationKey, signed: bytes, signature: bytes) -> bool:
    """Not by PyJWT's own reading of a JWT, which parses the header again with other rules."""
    algorithm = _ALGORITHMS[key.algorithm]
    return bool(algorithm.verify(signed, algorithm.prepare_key(key.material), signature))
