"""Which JWTs are accepted (protocol.md, "JWT"), against real keys of every kind."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import random
import time
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)

from push.access.jwt import Claims, JwtVerifier, VerificationKey, load_keys
from push.wire.errors import RequestError

ALL = ["HS256", "RS256", "ES256", "EdDSA"]
SECRET = b"0123456789abcdef0123456789abcdef"
RSA = rsa.generate_private_key(65537, 2048)
RSA_2 = rsa.generate_private_key(65537, 2048)
EC = ec.generate_private_key(ec.SECP256R1())
ED = ed25519.Ed25519PrivateKey.generate()


def pem(private: Any) -> bytes:
    public: bytes = private.public_key().public_bytes(
        Encoding.PEM, PublicFormat.SubjectPublicKeyInfo
    )
    return public


def verifier(*texts: bytes, algorithms: list[str] = ALL, issuer: str | None = None) -> JwtVerifier:
    keys = [key for text in texts for key in load_keys(text)]
    return JwtVerifier(keys, algorithms=algorithms, audience="push", issuer=issuer)


def claims(**changes: Any) -> dict[str, Any]:
    """Good claims with changes; None takes one out."""
    good = {"sub": "alice", "aud": "push", "exp": int(time.time()) + 600, **changes}
    return {name: value for name, value in good.items() if value is not None}


def segment(value: object) -> bytes:
    raw = value if isinstance(value, bytes) else json.dumps(value).encode()
    return base64.urlsafe_b64encode(raw).rstrip(b"=")


def signed_hs256(header: object, payload: object, key: bytes) -> str:
    signing = segment(header) + b"." + segment(payload)
    mac = hmac.new(key, signing, hashlib.sha256).digest()
    return (signing + b"." + segment(mac)).decode()


def refused(check: JwtVerifier, text: str) -> str:
    with pytest.raises(RequestError) as caught:
        check.verify(text)
    assert caught.value.code == "unauthenticated"
    assert caught.value.field == "jwt"
    return caught.value.detail


@pytest.mark.parametrize(
    ("algorithm", "private", "text"),
    [
        ("HS256", SECRET, SECRET),
        ("RS256", RSA, pem(RSA)),
        ("ES256", EC, pem(EC)),
        ("EdDSA", ED, pem(ED)),
    ],
    ids=ALL,
)
def test_each_algorithm_is_accepted_with_its_own_key(
    algorithm: str, private: Any, text: bytes
) -> None:
    token = jwt.encode(claims(exp=2_000_000_000), private, algorithm)

    assert verifier(text).verify(token) == Claims("alice", None, 2_000_000_000)
    others = [name for name in ALL if name != algorithm]
    assert "no configured key" in refused(verifier(text, algorithms=others), token)


def test_without_a_key_every_jwt_is_refused() -> None:
    refused(verifier(), jwt.encode(claims(), SECRET, "HS256"))


def test_alg_none_is_refused_whatever_is_configured() -> None:
    for spelling in ("none", "None", "NONE", ""):
        token = f"{segment({'alg': spelling}).decode()}.{segment(claims()).decode()}."
        refused(verifier(SECRET, pem(RSA)), token)
        refused(verifier(SECRET, algorithms=[*ALL, "none"]), token)
    refused(verifier(SECRET), f"{segment({}).decode()}.{segment(claims()).decode()}.")


@pytest.mark.parametrize("private", [RSA, EC, ED], ids=["RSA", "EC", "Ed25519"])
def test_a_public_key_is_no_hs256_secret(private: Any) -> None:
    """Key confusion: everyone knows the public key, in every form that could be the secret."""
    public = private.public_key()
    forms = [
        pem(private),
        pem(private).strip(),
        public.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo),
    ]
    for form in forms:
        token = signed_hs256({"alg": "HS256", "typ": "JWT"}, claims(), form)
        refused(verifier(pem(private)), token)
        refused(verifier(pem(private), SECRET), token)


def test_the_key_in_the_header_is_not_asked() -> None:
    """`jwk`, `jku` and `x5u` are an attacker's words."""
    own = json.loads(jwt.algorithms.RSAAlgorithm.to_jwk(RSA_2.public_key()))
    token = jwt.encode(
        claims(), RSA_2, "RS256", headers={"jwk": own, "jku": "http://x/", "kid": "../../etc"}
    )

    refused(verifier(pem(RSA)), token)


def test_another_key_of_the_same_kind_is_refused() -> None:
    refused(verifier(pem(RSA)), jwt.encode(claims(), RSA_2, "RS256"))


@pytest.mark.parametrize(
    ("changes", "what"),
    [
        ({"exp": 1_000_000_000}, "expired"),
        ({"exp": None}, "exp"),
        ({"exp": "soon"}, "exp"),
        ({"sub": None}, "sub"),
        ({"sub": ""}, "sub"),
        ({"sub": 5}, "ubject|sub"),
        ({"sub": "a b"}, "sub"),
        ({"sub": "a\n"}, "sub"),
        ({"sub": "x" * 129}, "sub"),
        ({"aud": None}, "aud"),
        ({"aud": "other"}, "udience"),
        ({"aud": ["other"]}, "udience"),
        ({"aud": 5}, "claim"),
        ({"nbf": 4_000_000_000}, "not yet valid"),
        ({"iat": 4_000_000_000}, "not yet valid"),
        ({"token": 5}, "token"),
        ({"topics": "all"}, "topics"),
        ({"topics": [1]}, "topics"),
    ],
)
def test_claims_that_are_missing_or_wrong_are_named(changes: dict[str, Any], what: str) -> None:
    token = jwt.api_jws.encode(json.dumps(claims(**changes)).encode(), SECRET, "HS256")

    assert any(word in refused(verifier(SECRET), token) for word in what.split("|"))


def test_the_leeway_is_sixty_seconds() -> None:
    now = int(time.time())
    check = verifier(SECRET)

    assert check.verify(jwt.encode(claims(exp=now - 55), SECRET, "HS256")).expires_s == now - 55
    refused(check, jwt.encode(claims(exp=now - 65), SECRET, "HS256"))


def test_an_audience_among_others_is_ours() -> None:
    token = jwt.encode(claims(aud=["other", "push"]), SECRET, "HS256")

    assert verifier(SECRET).verify(token).user == "alice"


def test_the_issuer_is_checked_when_one_is_set() -> None:
    mine = jwt.encode(claims(iss="me"), SECRET, "HS256")

    assert verifier(SECRET, issuer="me").verify(mine).user == "alice"
    refused(verifier(SECRET, issuer="you"), mine)
    refused(verifier(SECRET, issuer="me"), jwt.encode(claims(), SECRET, "HS256"))


def test_token_and_topics_are_read() -> None:
    token = jwt.encode(claims(token="T", topics=["private.a"]), SECRET, "HS256")

    read = verifier(SECRET).verify(token)

    assert (read.token, read.topics) == ("T", ("private.a",))


@pytest.mark.parametrize("payload", [[], "text", 5, None])
def test_a_payload_that_is_no_object_is_refused(payload: object) -> None:
    refused(verifier(SECRET), signed_hs256({"alg": "HS256"}, payload, SECRET))


@pytest.mark.parametrize(
    "text",
    [
        "",
        ".",
        "..",
        "a.b.c",
        "é.é.é",
        "\x00",
        "a" * 8192,
        ".".join("abcdef"),
        "\ud800.a.b",
    ],
)
def test_what_is_no_jwt_is_refused(text: str) -> None:
    refused(verifier(SECRET, pem(RSA)), text)


def test_a_header_that_nests_deeply_is_refused_and_nothing_else() -> None:
    for opening in (b"[", b'{"a":'):
        header = opening * (6000 // len(opening))
        refused(verifier(SECRET), f"{segment(header).decode()}.e30.")


@pytest.mark.parametrize(
    "header",
    [
        {"alg": ["HS256"]},
        {"alg": {}},
        {"alg": None},
        {"alg": "HS256", "kid": 5},
        {"alg": "HS256", "kid": ["a"]},
        {"alg": "HS256", "crit": ["exp"]},
        {"alg": "HS256", "crit": ["b64"], "b64": False},
        {"alg": "hs256"},
        {"alg": "HS384"},
        {"alg": 1e308},
    ],
)
def test_a_strange_header_is_refused(header: object) -> None:
    refused(verifier(SECRET), signed_hs256(header, claims(), SECRET))


def test_changed_bytes_are_never_accepted_and_never_another_error() -> None:
    chance = random.Random(5)
    check = verifier(SECRET, pem(RSA), pem(EC), pem(ED))
    good = [
        jwt.encode(claims(), SECRET, "HS256"),
        jwt.encode(claims(), EC, "ES256"),
        jwt.encode(claims(), ED, "EdDSA"),
    ]
    for _ in range(2000):
        text = list(chance.choice(good))
        signature = "".join(text).rindex(".") + 1
        for _ in range(chance.randrange(1, 4)):
            place = chance.randrange(signature)
            text[place] = chr(chance.choice([chance.randrange(128), chance.randrange(0xD000)]))
        changed = "".join(text)
        if changed not in good:
            refused(check, changed)


def test_numbers_that_are_no_times_are_refused() -> None:
    for number in ("1e400", "-1e400", "NaN", "Infinity"):
        payload = f'{{"sub":"a","aud":"push","exp":{number}}}'.encode()
        refused(verifier(SECRET), signed_hs256({"alg": "HS256"}, payload, SECRET))


# Keys


def test_a_short_hs256_key_is_an_error_of_the_configuration() -> None:
    with pytest.raises(ValueError, match="32 bytes"):
        load_keys(b"0123456789abcdef0123456789abcde")
    with pytest.raises(ValueError, match="32 bytes"):
        load_keys(b"")


def test_the_white_space_around_a_secret_in_a_file_does_not_count() -> None:
    (key,) = load_keys(SECRET + b"\r\n")

    assert key == VerificationKey("HS256", SECRET)


def test_a_private_key_is_not_wanted() -> None:
    for format_ in (PrivateFormat.PKCS8, PrivateFormat.TraditionalOpenSSL):
        with pytest.raises(ValueError, match="private"):
            load_keys(RSA.private_bytes(Encoding.PEM, format_, NoEncryption()))


def test_a_key_of_another_kind_is_an_error_of_the_configuration() -> None:
    with pytest.raises(ValueError, match="fits none"):
        load_keys(pem(ec.generate_private_key(ec.SECP384R1())))


@pytest.mark.parametrize(
    "text",
    [
        b"{",
        b"{}",
        b'{"keys": []}',
        b'{"keys": 5}',
        b'{"keys": {}}',
        b'{"keys": [5]}',
        b'{"keys": [null]}',
        b'{"keys": [{}]}',
        b'{"keys": [{"kty": "RSA"}]}',
        b'{"keys": [{"kty": "RSA", "n": 5, "e": "AQAB"}]}',
        b'{"keys": [{"kty": "RSA", "n": "x", "e": "x"}]}',
        b'{"keys": [{"kty": "oct", "k": "c2hvcnQ"}]}',
        b'{"keys": [{"kty": "EC", "crv": "P-256", "x": "a", "y": "b"}]}',
        b"-----BEGIN PUBLIC KEY-----\nxx\n-----END PUBLIC KEY-----",
        b"-----BEGIN CERTIFICATE-----\nxx\n-----END CERTIFICATE-----",
        b"-----BEGIN",
    ],
)
def test_a_key_file_that_cannot_be_read_is_a_value_error(text: bytes) -> None:
    with pytest.raises(ValueError, match=r"\w"):
        load_keys(text)


def jwks(**keys: Any) -> bytes:
    algorithms = jwt.algorithms
    made = []
    for kid, private in keys.items():
        if isinstance(private, bytes):
            item = algorithms.HMACAlgorithm.to_jwk(private, as_dict=True)
        elif isinstance(private, rsa.RSAPrivateKey):
            item = algorithms.RSAAlgorithm.to_jwk(private.public_key(), as_dict=True)
        elif isinstance(private, ec.EllipticCurvePrivateKey):
            item = algorithms.ECAlgorithm.to_jwk(private.public_key(), as_dict=True)
        else:
            item = algorithms.OKPAlgorithm.to_jwk(private.public_key(), as_dict=True)
        made.append({**item, "kid": kid})
    return json.dumps({"keys": made}).encode()


def test_a_jwks_has_keys_of_every_kind() -> None:
    check = verifier(jwks(r=RSA, e=EC, d=ED, h=SECRET))

    for private, algorithm, kid in [
        (RSA, "RS256", "r"),
        (EC, "ES256", "e"),
        (ED, "EdDSA", "d"),
        (SECRET, "HS256", "h"),
    ]:
        token = jwt.encode(claims(), private, algorithm, headers={"kid": kid})
        assert check.verify(token).user == "alice"


def test_a_kid_that_is_in_the_set_means_that_key_and_no_other() -> None:
    check = verifier(jwks(old=RSA, new=RSA_2))

    token = jwt.encode(claims(), RSA_2, "RS256", headers={"kid": "new"})
    assert check.verify(token).user == "alice"
    refused(check, jwt.encode(claims(), RSA_2, "RS256", headers={"kid": "old"}))


def test_without_a_kid_or_with_an_unknown_one_each_key_is_tried() -> None:
    check = verifier(jwks(old=RSA, new=RSA_2))

    assert check.verify(jwt.encode(claims(), RSA_2, "RS256")).user == "alice"
    unknown = jwt.encode(claims(), RSA_2, "RS256", headers={"kid": "other"})
    assert check.verify(unknown).user == "alice"


def test_the_private_half_in_a_set_is_left_unused() -> None:
    private = jwt.algorithms.RSAAlgorithm.to_jwk(RSA)

    (key,) = load_keys(private.encode())

    assert isinstance(key.material, rsa.RSAPublicKey)


def test_keys_of_a_set_that_fit_no_algorithm_are_passed_over() -> None:
    """RFC 7517, section 5: what is not understood is ignored; providers publish other keys too."""
    document = json.loads(jwks(mine=RSA))
    p384 = ec.generate_private_key(ec.SECP384R1()).public_key()
    document["keys"] += [
        {**jwt.algorithms.ECAlgorithm.to_jwk(p384, as_dict=True), "kid": "384"},
        {"kty": "strange", "kid": "x"},
    ]

    (key,) = load_keys(json.dumps(document).encode())

    assert (key.algorithm, key.kid) == ("RS256", "mine")


def test_an_encryption_key_of_a_set_is_no_signature_key() -> None:
    document = json.loads(jwks(sign=RSA, encrypt=RSA_2))
    document["keys"][1]["use"] = "enc"

    assert [key.kid for key in load_keys(json.dumps(document).encode())] == ["sign"]


def test_a_fetched_set_replaces_the_one_before_and_leaves_the_fixed_keys() -> None:
    check = verifier(SECRET)
    check.replace_fetched(load_keys(jwks(a=RSA)))
    check.replace_fetched(load_keys(jwks(b=RSA_2)))

    assert check.verify(jwt.encode(claims(), SECRET, "HS256")).user == "alice"
    assert check.verify(jwt.encode(claims(), RSA_2, "RS256")).user == "alice"
    refused(check, jwt.encode(claims(), RSA, "RS256"))


HUGE = b"9" * 5000  # more digits than Python converts
UNREAD = b'{"alg":"HS256","x":%b}' % HUGE


def test_a_number_in_the_header_that_nobody_reads_changes_nothing() -> None:
    assert verifier(SECRET).verify(signed_hs256(UNREAD, claims(), SECRET)).user == "alice"


@pytest.mark.parametrize(
    "text",
    [
        signed_hs256(UNREAD, claims(), b"another secret of at least 32 bytes"),
        signed_hs256(b'{"alg":"HS256","kid":%b}' % HUGE, claims(), SECRET),
        signed_hs256({"alg": "HS256"}, b'{"exp":%b}' % HUGE, SECRET),
        signed_hs256({"alg": "HS256"}, claims(), SECRET)[:-1],
        signed_hs256({"alg": "HS256"}, claims(), SECRET).replace(".", ".A", 1),
        "A" + signed_hs256({"alg": "HS256"}, claims(), SECRET),
        signed_hs256({"alg": "HS256"}, claims(), SECRET) + "A",
        signed_hs256({"alg": "HS256"}, claims(), SECRET).rpartition(".")[0] + ".",
    ],
    # Not the text, which has the time in it: every process must know a test by the same name.
    ids=[
        "another secret",
        "a huge key id",
        "a huge expiry",
        "cut off",
        "another header",
        "before it",
        "after it",
        "no signature",
    ],
)
def test_no_refusal_speaks_python(text: str) -> None:
    with pytest.raises(RequestError) as caught:
        verifier(SECRET).verify(text)
    assert caught.value.code == "unauthenticated"
    words = caught.value.detail
    assert not [word for word in ("sys.", "int(", "padding", "codec", "limit") if word in words]


@pytest.mark.parametrize("secret", [b"ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIDs6 me@host"])
def test_a_public_key_is_no_secret(secret: bytes) -> None:
    with pytest.raises(ValueError, match="asymmetric key"):
        load_keys(secret)
