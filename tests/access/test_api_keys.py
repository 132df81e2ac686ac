"""API keys are found by their digest."""

from __future__ import annotations

import hashlib

import pytest

from push.access.api_keys import ApiKey, Keyring


def digest(key: str) -> str:
    return hashlib.sha256(key.encode()).hexdigest()


ADMIN = ApiKey("admin", digest("pk_admin"), frozenset({"push", "read"}))
APP = ApiKey("app", digest("pk_app"), frozenset({"register"}))


def test_a_key_is_found_with_its_scopes() -> None:
    keyring = Keyring([ADMIN, APP])
    assert keyring.authenticate("pk_app") is APP
    assert keyring.authenticate("pk_admin") is ADMIN


@pytest.mark.parametrize(
    "wrong", ["", "pk_ap", "pk_app ", "PK_APP", APP.sha256, "schlüssel", "\ud800", "x" * 100_000]
)
def test_anything_else_is_nobodys(wrong: str) -> None:
    assert Keyring([ADMIN, APP]).authenticate(wrong) is None


def test_a_digest_may_be_in_upper_case() -> None:
    key = ApiKey("ci", digest("pk_ci").upper(), frozenset())
    assert Keyring([key]).authenticate("pk_ci") is key


def test_the_same_key_under_two_names_is_refused() -> None:
    with pytest.raises(ValueError, match="admin and copy are the same"):
        Keyring([ADMIN, ADMIN._replace(name="copy")])


def test_without_keys_nobody_is_known() -> None:
    assert Keyring([]).authenticate("pk_admin") is None
