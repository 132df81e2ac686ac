"""The routes of webhooks, with the real outbox behind them."""

from __future__ import annotations

from typing import Any

import pytest
import pytest_twisted

from push.webhooks.endpoints import MAX_ENDPOINTS
from push.webhooks.settings import ConfiguredEndpoint, WebhookSettings
from push.webhooks.signing import key_of, new_secret
from tests.http.routes.conftest import API, MakeAPI

URL = "https://8.8.8.8/push"
BODY = {"url": URL, "types": ["chat.message", "device.online"]}


async def make(api: API, **more: Any) -> dict[str, Any]:
    made: dict[str, Any] = await api.json("POST", "/v1/webhooks", {**BODY, **more})
    return made


@pytest_twisted.ensureDeferred
async def test_an_endpoint_is_made_listed_changed_and_deleted(api: API) -> None:
    response = await api.request("POST", "/v1/webhooks", {**BODY, "description": "orders"})
    made = response.json()
    assert response.status == 201
    assert response.headers["cache-control"] == "no-store"
    assert len(key_of(made["secret"])) == 32
    shown = {name: value for name, value in made.items() if name != "secret"}
    assert shown == {
        "id": made["id"],
        "url": URL,
        "types": ["chat.message", "device.online"],
        "enabled": True,
        "description": "orders",
        "source": "made",
        "created": made["created"],
        "state": "ok",
        "disabled_reason": None,
        "failing_since": None,
        "waiting": 0,
        "lost": 0,
    }
    path = f"/v1/webhooks/{made['id']}"
    assert await api.json("GET", path) == shown
    assert await api.json("GET", "/v1/webhooks") == {"webhooks": [shown], "cursor": None}
    changed = await api.json("PATCH", path, {"types": ["group.changed"], "enabled": False})
    expected = {"types": ["group.changed"], "enabled": False, "state": "disabled"}
    assert changed == shown | expected
    assert (await api.json("PATCH", path, {"enabled": True}))["state"] == "ok"
    controlling = {"description": "\x1b[31m"}
    (await api.request("PATCH", path, controlling)).assert_problem("invalid", "description")
    assert (await api.request("DELETE", path)).status == 204
    (await api.request("GET", path)).assert_problem("not_found")
    (await api.request("DELETE", path)).assert_problem("not_found")
    (await api.request("PATCH", path, {})).assert_problem("not_found")
    (await api.request("GET", f"{path}/attempts")).assert_problem("not_found")
    (await api.request("POST", f"{path}/replay")).assert_problem("not_found")
    (await api.request("POST", f"{path}/test")).assert_problem("not_found")


@pytest_twisted.ensureDeferred
async def test_rotation_answers_a_new_secret_and_nothing_tells_one_later(api: API) -> None:
    made = await make(api)
    path = f"/v1/webhooks/{made['id']}"
    rotated = await api.json("PATCH", path, {"rotate": True})
    assert rotated["secret"] not in ("", made["secret"])
    store = api.node.domain.webhooks.store
    endpoint = await store.get(made["id"])
    assert endpoint.valid_secrets(store.now_ms()) == [rotated["secret"], made["secret"]]
    assert endpoint.valid_secrets(store.now_ms() + 86_400_001) == [rotated["secret"]]
    for _ in range(8):
        await api.json("PATCH", path, {"rotate": True})
    assert len((await store.get(made["id"])).secrets) == 5
    listed = (await api.request("GET", "/v1/webhooks")).content
    assert b"whsec_" not in listed


@pytest_twisted.ensureDeferred
async def test_the_list_is_in_pages_and_bounded(api: API) -> None:
    ids = sorted([(await make(api))["id"] for _ in range(MAX_ENDPOINTS)])
    (await api.request("POST", "/v1/webhooks", BODY)).assert_problem("not_allowed")
    found: list[str] = []
    cursor = ""
    while cursor is not None:
        page = await api.json("GET", f"/v1/webhooks?limit=30&cursor={cursor}")
        found += [endpoint["id"] for endpoint in page["webhooks"]]
        cursor = page["cursor"]
    assert found == ids


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({}, "url"),
        ({"url": URL}, "types"),
        ({"url": URL, "types": []}, "types"),
        ({"url": URL, "types": ["chat.massage"]}, "types[0]"),
        ({"url": URL, "types": "chat.message"}, "types"),
        ({"url": "http://8.8.8.8/", "types": ["chat.message"]}, "url"),
        ({"url": "https://127.0.0.1/", "types": ["chat.message"]}, "url"),
        ({"url": "https://[::ffff:10.0.0.1]/", "types": ["chat.message"]}, "url"),
        ({"url": "https://2130706433/", "types": ["chat.message"]}, "url"),
        ({"url": URL + "x" * 2000, "types": ["chat.message"]}, "url"),
        ({**BODY, "secret": "whsec_x"}, "secret"),
        ({**BODY, "description": "x" * 201}, "description"),
        ({**BODY, "description": "a\0b"}, "description"),
        ({**BODY, "description": "a\nb"}, "description"),
        ({**BODY, "description": "a\x9bb"}, "description"),
        ({**BODY, "enabled": "yes"}, "enabled"),
    ],
)
@pytest_twisted.ensureDeferred
async def test_a_bad_endpoint_is_refused_and_nothing_is_made(
    api: API, body: dict[str, Any], field: str
) -> None:
    (await api.request("POST", "/v1/webhooks", body)).assert_problem("invalid", field)
    assert (await api.json("GET", "/v1/webhooks"))["webhooks"] == []


@pytest_twisted.ensureDeferred
async def test_only_an_admin_key_has_to_do_with_webhooks(api: API) -> None:
    for key in ("push-key", "app-key"):
        (await api.request("GET", "/v1/webhooks", key=key)).assert_problem("forbidden")
        (await api.request("POST", "/v1/webhooks", BODY, key=key)).assert_problem("forbidden")
    (await api.request("GET", "/v1/webhooks", key=None)).assert_problem("unauthenticated")


@pytest_twisted.ensureDeferred
async def test_a_test_event_waits_for_one_endpoint_and_a_disabled_one_gets_none(api: API) -> None:
    made, other = await make(api), await make(api)
    path = f"/v1/webhooks/{made['id']}"
    response = await api.request("POST", f"{path}/test")
    assert response.status == 202
    assert response.json()["event"].startswith("evt_")
    await api.json("PATCH", path, {"enabled": False})
    (await api.request("POST", f"{path}/test")).assert_problem("not_allowed")
    (await api.request("POST", f"{path}/replay", {})).assert_problem("not_allowed")
    assert (await api.json("GET", f"/v1/webhooks/{other['id']}"))["waiting"] == 0


@pytest_twisted.ensureDeferred
async def test_a_replay_says_how_many_and_refuses_a_type_that_is_not_sent(api: API) -> None:
    made = await make(api)
    path = f"/v1/webhooks/{made['id']}/replay"
    response = await api.request("POST", path)
    assert (response.status, response.json()) == (202, {"events": 0})
    assert await api.json("POST", path, {"since": 1, "until": 2**53 - 1}) == {"events": 0}
    (await api.request("POST", path, {"type": "group.changed"})).assert_problem("invalid", "type")
    (await api.request("POST", path, {"since": -1})).assert_problem("invalid", "since")
    (await api.request("POST", path, {"sinse": 1})).assert_problem("invalid", "sinse")


@pytest_twisted.ensureDeferred
async def test_attempts_are_an_empty_page_at_first_and_bad_cursors_are_refused(api: API) -> None:
    made = await make(api)
    path = f"/v1/webhooks/{made['id']}/attempts"
    assert await api.json("GET", path) == {"attempts": [], "cursor": None}
    (await api.request("GET", f"{path}?cursor=x")).assert_problem("invalid", "cursor")
    page = (await api.request("GET", "/v1/webhooks?cursor=x")).assert_problem("invalid", "cursor")
    assert page


@pytest_twisted.ensureDeferred
async def test_the_query_of_an_address_is_told_to_nobody_and_stays(api: API) -> None:
    made = await make(api, url=f"{URL}?token=s3cret")
    shown, path = f"{URL}?redacted", f"/v1/webhooks/{made['id']}"
    assert (made["url"], (await api.json("GET", path))["url"]) == (shown, shown)
    assert b"s3cret" not in (await api.request("GET", "/v1/webhooks")).content
    # As it was read: nothing of it changes.
    changed = await api.json("PATCH", path, {"url": shown, "description": "orders"})
    assert (changed["url"], changed["description"]) == (shown, "orders")
    stored = await api.node.domain.webhooks.store.get(made["id"])
    assert stored.url == f"{URL}?token=s3cret"
    other = {"url": f"{URL}/elsewhere?redacted"}
    (await api.request("PATCH", path, other)).assert_problem("invalid", "url")
    (await api.request("POST", "/v1/webhooks", {**BODY, **other})).assert_problem("invalid", "url")


@pytest_twisted.ensureDeferred
async def test_a_replay_to_before_its_beginning_is_refused(api: API) -> None:
    path = f"/v1/webhooks/{(await make(api))['id']}/replay"
    assert (await api.json("POST", path, {"since": 5, "until": 5})) == {"events": 0}
    (await api.request("POST", path, {"since": 6, "until": 5})).assert_problem("invalid", "until")


@pytest_twisted.ensureDeferred
async def test_an_endpoint_of_the_configuration_is_shown_and_only_switched(
    make_api: MakeAPI,
) -> None:
    api = await make_api()
    secret = new_secret()
    store = api.node.domain.webhooks.store

    def configure(*endpoints: ConfiguredEndpoint) -> None:
        store._settings = WebhookSettings(endpoints=endpoints)

    one = ConfiguredEndpoint(
        id="orders", url="http://10.0.0.7/x", types=("chat.message",), secret=secret
    )
    configure(one)
    await store.adopt()
    (shown,) = (await api.json("GET", "/v1/webhooks"))["webhooks"]
    assert (shown["id"], shown["source"]) == ("config-orders", "config")
    assert shown["url"] == "http://10.0.0.7/x"
    path = "/v1/webhooks/config-orders"
    (await api.request("PATCH", path, {"url": URL})).assert_problem("not_allowed")
    (await api.request("PATCH", path, {"rotate": True})).assert_problem("not_allowed")
    (await api.request("DELETE", path)).assert_problem("not_allowed")
    assert (await api.json("PATCH", path, {"enabled": False}))["state"] == "disabled"
    await store.adopt()  # a restart changes nothing of that
    assert (await api.json("GET", path))["state"] == "disabled"
    configure()
    await store.adopt()
    assert (await api.json("GET", "/v1/webhooks"))["webhooks"] == []
