"""Devices: looking one up, forgetting one, binding and unbinding, registering again."""

from __future__ import annotations

import pytest
import pytest_twisted

from push.wire.idents import encode_crockford
from tests.http.routes.conftest import API, REGISTER, Connect

TOKEN = encode_crockford(123456789012345678)  # of no device
MISTYPED = TOKEN[:-1] + ("0" if TOKEN[-1] != "0" else "1")


@pytest_twisted.ensureDeferred
async def test_a_device_is_described(api: API) -> None:
    token = await api.register()
    described = await api.json("GET", f"/v1/devices/{token}")
    assert described == {
        "token": token,
        "platform": "linux",
        "app": "example",
        "device": None,
        "user": None,
        "created": described["created"],
        "seen": None,
        "topics": [],
        "session": None,
        "node": None,
        "backlog": 0,
        "online": False,
    }
    assert described["created"] > 1_600_000_000_000


@pytest_twisted.ensureDeferred
async def test_a_device_that_is_online_shows_its_session(api: API, connected: Connect) -> None:
    device = await connected()
    described = await api.json("GET", f"/v1/devices/{device.token}")
    assert (described["online"], described["session"]) == (True, device.session)


@pytest.mark.parametrize("method", ["GET", "DELETE"])
@pytest_twisted.ensureDeferred
async def test_a_device_that_is_not_there_is_unknown_and_a_mistyped_token_invalid(
    api: API, method: str
) -> None:
    unknown = await api.request(method, f"/v1/devices/{TOKEN}")
    unknown.assert_problem("unknown_token", "token")
    (await api.request(method, f"/v1/devices/{MISTYPED}")).assert_problem("invalid", "token")


@pytest_twisted.ensureDeferred
async def test_a_token_may_be_percent_encoded(api: API) -> None:
    token = await api.register()
    encoded = "".join(f"%{ord(character):02X}" for character in token)
    assert (await api.json("GET", f"/v1/devices/{encoded}"))["token"] == token


@pytest_twisted.ensureDeferred
async def test_a_device_is_forgotten_without_a_body(api: API) -> None:
    path = f"/v1/devices/{await api.register()}"
    response = await api.request("DELETE", path)
    assert (response.status, response.content) == (204, b"")
    assert "content-type" not in response.headers
    assert (await api.request("DELETE", path)).status == 404


@pytest_twisted.ensureDeferred
async def test_a_device_is_bound_and_unbound(api: API) -> None:
    token = await api.register()
    path = f"/v1/users/anna%40example.org/devices/{token}"

    async def user() -> str | None:
        found: str | None = (await api.json("GET", f"/v1/devices/{token}"))["user"]
        return found

    assert (await api.request("PUT", path)).status == 204
    assert await user() == "anna@example.org"
    wrong = await api.request("DELETE", f"/v1/users/other/devices/{token}")
    wrong.assert_problem("not_found")
    assert (await api.request("DELETE", path)).status == 204
    assert await user() is None


@pytest.mark.parametrize("user", ["a%20b", "a%0A", "%C3%A4", "x" * 129])
@pytest_twisted.ensureDeferred
async def test_a_user_must_have_a_name(api: API, user: str) -> None:
    for method in ("PUT", "DELETE"):
        answer = await api.request(method, f"/v1/users/{user}/devices/{TOKEN}")
        answer.assert_problem("invalid", "user")


@pytest_twisted.ensureDeferred
async def test_a_device_registers_again_with_its_token_and_secret(api: API) -> None:
    first = await api.json("POST", "/v1/devices", REGISTER, key="app-key")
    again = {**REGISTER, "token": first["token"], "secret": first["secret"]}
    same = await api.json("POST", "/v1/devices", again, key="app-key")
    assert (same["token"], same["secret"]) == (first["token"], first["secret"])
    wrong = {**again, "secret": "guessed"}
    other = await api.json("POST", "/v1/devices", wrong, key="app-key")
    assert other["token"] != first["token"]
