"""What operators see, with the real domain behind it: timelines, messages, figures, the trail."""

from __future__ import annotations

import json
from typing import Any

import pytest
import pytest_twisted
from twisted.internet.defer import ensureDeferred, gatherResults

from push.http.routes.operate.messages import ROWS_AT_ONCE
from push.observe.series import SeriesRecorder
from push.streams.ledger import DeliveryCounts
from tests.http.conftest import Connection, make_request
from tests.http.routes.conftest import API, Connect, MakeAPI
from tests.waiting import WaitUntil


async def timeline(api: API, token: str, **query: Any) -> dict[str, Any]:
    options = "&".join(f"{name}={value}" for name, value in query.items())
    answer: dict[str, Any] = await api.json("GET", f"/v1/devices/{token}/events?{options}")
    return answer


# --- The timeline of a device --------------------------------------------------------------------


@pytest_twisted.ensureDeferred
async def test_a_timeline_has_the_connects_acknowledgements_and_ends_of_a_device(
    api: API, connected: Connect, wait_until: WaitUntil
) -> None:
    device = await connected()
    for number in range(3):
        await api.push({"token": device.token}, number)
    await wait_until(lambda: len(device.client.pushes) == 3)
    device.client.ack_all()
    observer = api.node.domain.observer
    await wait_until(lambda: sum(each.unsettled for each in observer.timelines.acknowledging) == 3)
    pending = await timeline(api, device.token)
    assert [(each["event"], each.get("n")) for each in pending["events"]] == [
        ("acknowledged", 3),
        ("connected", None),
    ]
    device.client.transport.abortConnection()
    await wait_until(lambda: not api.node.gateway.sessions)
    await observer.timelines.store_all()

    found = await timeline(api, device.token)
    assert [each["event"] for each in found["events"]] == [
        "disconnected",
        "acknowledged",
        "connected",
    ]
    end, acknowledged, begin = found["events"]
    assert end["code"] == "connection_lost"
    assert acknowledged["n"] == 3
    assert {each["session"] for each in found["events"]} == {device.session}
    assert begin["ts"] <= acknowledged["ts"] <= end["ts"]
    assert (found["cursor"], found["silent"]) == (None, [])


@pytest_twisted.ensureDeferred
async def test_pages_of_a_timeline_have_each_event_once(
    api: API, connected: Connect, wait_until: WaitUntil
) -> None:
    device = await connected()
    timelines = api.node.domain.observer.timelines
    for number in range(250):
        timelines.add(device.token, "repaired", "s", reason=str(number))
    await timelines.store_all()
    whole = await timeline(api, device.token, limit=200)
    assert (len(whole["events"]), whole["cursor"]) == (200, None)
    paged: list[Any] = []
    cursor = ""
    while True:
        page = await timeline(api, device.token, limit=37, cursor=cursor)
        paged += page["events"]
        cursor = page["cursor"]
        if cursor is None:
            break
    assert paged == whole["events"]


@pytest_twisted.ensureDeferred
async def test_a_silent_node_is_named_and_unknown_devices_are_not_found(
    api: API, connected: Connect, silent_node: str
) -> None:
    device = await connected()
    assert (await timeline(api, device.token))["silent"] == [silent_node]
    unknown = await api.request("GET", "/v1/devices/03DMV9EK31WTE=/events")
    assert (unknown.status, unknown.json()["code"]) == (404, "unknown_token")
    mistyped = await api.request("GET", "/v1/devices/03DMV9EK31WTZ/messages")
    assert (mistyped.status, mistyped.json()["code"]) == (422, "invalid")
    damaged = await api.request("GET", f"/v1/devices/{device.token}/events?cursor=x")
    assert (damaged.status, damaged.json()["field"]) == (422, "cursor")


# --- What waits ----------------------------------------------------------------------------------


@pytest_twisted.ensureDeferred
async def test_what_waits_for_a_device_is_listed_in_order_from_all_its_streams(api: API) -> None:
    token = await api.register()
    await api.request("PUT", f"/v1/users/anna/devices/{token}")
    await api.request("PUT", f"/v1/topics/news/devices/{token}")
    targets: list[dict[str, Any]] = [
        {"token": token},
        {"user": "anna"},
        {"topic": "news"},
        {"all": True},
    ]
    ids = [(await api.push(targets[n % 4], {"n": n}))["id"] for n in range(22)]
    await api.push({"user": "ben"}, "for another")
    found: list[Any] = []
    cursor = ""
    while True:
        page = await api.json("GET", f"/v1/devices/{token}/messages?limit=5&cursor={cursor}")
        found += page["messages"]
        cursor = page["cursor"]
        if cursor is None:
            break
    assert [message["id"] for message in found] == ids
    assert [message["data"] for message in found] == [{"n": n} for n in range(22)]
    assert {message["stream"] for message in found} == {
        f"dev:{token}",
        "user:anna",
        "topic:news",
        "all",
    }
    assert all(message["expires"] > message["ts"] for message in found)
    shown = await api.json("GET", f"/v1/devices/{token}")
    assert shown["backlog"] == 22  # to look moves nothing


@pytest_twisted.ensureDeferred
async def test_a_page_of_large_messages_ends_early_and_leads_on(api: API) -> None:
    token = await api.register()
    ids = [(await api.push({"token": token}, "x" * 200_000))["id"] for _ in range(12)]
    first = await api.json("GET", f"/v1/devices/{token}/messages")
    assert 1 <= len(first["messages"]) < 12
    rest = await api.json("GET", f"/v1/devices/{token}/messages?cursor={first['cursor']}")
    found = [message["id"] for page in (first, rest) for message in page["messages"]]
    while rest["cursor"] is not None:
        rest = await api.json("GET", f"/v1/devices/{token}/messages?cursor={rest['cursor']}")
        found += [message["id"] for message in rest["messages"]]
    assert found == ids


# --- Recent messages -----------------------------------------------------------------------------


@pytest_twisted.ensureDeferred
async def test_recent_messages_are_listed_by_target_the_newest_first(api: API) -> None:
    token = await api.register()
    targets: list[dict[str, Any]] = [
        {"token": token},
        {"tokens": [token]},
        {"user": "anna"},
        {"users": ["anna", "ben"]},
        {"topic": "news"},
        {"all": True},
    ]
    ids = [(await api.push(target))["id"] for target in targets]
    repeated = [
        await api.json("POST", "/v1/push", {"to": {"user": "carl"}, "data": 1}) for _ in range(2)
    ]
    by_ip = await api.push({"ip": "192.0.2.0/24"})
    await api.node.domain.observer.recent.store_all()

    async def listed(query: str = "") -> list[str]:
        found: list[str] = []
        cursor = ""
        while cursor is not None:
            page = await api.json("GET", f"/v1/messages?limit=2&cursor={cursor}{query}")
            found += [message["id"] for message in page["messages"]]
            cursor = page["cursor"]
        return found

    everything = [*ids, *(answer["id"] for answer in repeated), by_ip["id"]]
    assert await listed() == everything[::-1]
    assert await listed(f"&to=token:{token}") == [ids[1], ids[0]]
    assert await listed("&to=user:anna") == [ids[3], ids[2]]
    assert await listed("&to=user:ben") == [ids[3]]
    assert await listed("&to=topic:news") == [ids[4]]
    assert await listed("&to=all") == [ids[5]]
    assert await listed("&to=user:nobody") == []
    page = await api.json("GET", "/v1/messages?limit=1&to=user:ben")
    assert page["messages"][0] == await api.json("GET", f"/v1/messages/{ids[3]}")
    later = page["messages"][0]["ts"] + 60_000
    assert await listed(f"&since={later}") == []


@pytest_twisted.ensureDeferred
async def test_few_rows_of_all_pages_are_looked_up_at_one_time(
    api: API, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else a few clients that read the ledger would stop others."""
    for number in range(3):
        await api.json("POST", "/v1/push/batch", [{"to": {"user": "u"}, "data": number}] * 20)
    await api.node.domain.observer.recent.store_all()
    pushing = api.node.domain.pushing
    look_up, running, most = pushing.message, 0, 0

    async def counted(id: str) -> DeliveryCounts:
        nonlocal running, most
        running += 1
        most = max(most, running)
        try:
            return await look_up(id)
        finally:
            running -= 1

    monkeypatch.setattr(pushing, "message", counted)
    pages = [ensureDeferred(api.json("GET", "/v1/messages?limit=60")) for _ in range(3)]
    assert [len(page["messages"]) for page in await gatherResults(pages)] == [60] * 3
    assert (most, running) == (ROWS_AT_ONCE, 0)


@pytest_twisted.ensureDeferred
async def test_a_push_that_is_repeated_with_its_key_is_listed_once(api: API) -> None:
    body = {"to": {"user": "anna"}, "data": 1, "idempotency_key": "once"}
    answer = await api.json("POST", "/v1/push/batch", [body, body])
    again = await api.json("POST", "/v1/push/batch", [body])
    ids = {each["id"] for each in (*answer["results"], *again["results"])}
    await api.node.domain.observer.recent.store_all()
    page = await api.json("GET", "/v1/messages?to=user:anna")
    assert [message["id"] for message in page["messages"]] == list(ids)
    assert api.node.domain.pushing.accepted.total() == 1


@pytest.mark.parametrize(
    "to", ["", "anna", "user:", "user:a%20b", "ip:192.0.2.1", "token:x", "all:", "topic"]
)
@pytest_twisted.ensureDeferred
async def test_a_target_that_is_none_is_refused(api: API, to: str) -> None:
    answer = await api.request("GET", f"/v1/messages?to={to}")
    assert (answer.status, answer.json()["field"]) == (422, "to")


# --- Figures -------------------------------------------------------------------------------------


@pytest_twisted.ensureDeferred
async def test_a_figure_counts_what_happened_in_its_step(
    api: API, silent_node: str, wait_until: WaitUntil
) -> None:
    recorder: SeriesRecorder = api.node.domain.observer.recorder
    recorder._read()  # what was before counts for nothing
    for _ in range(7):
        await api.push({"user": "anna"})
    seconds = api.node.domain.observer.wall_clock
    begun = seconds.now_ms() // 1000
    await wait_until(lambda: seconds.now_ms() // 1000 > begun + 2)
    answer = await api.json("GET", "/v1/series?name=pushes")
    assert (answer["name"], answer["step"], answer["silent"]) == ("pushes", 1, [silent_node])
    assert len(answer["values"]) == 300
    assert sum(value or 0 for value in answer["values"]) == 7
    assert answer["start"] % 1000 == 0
    counted = [each for each in answer["values"] if each is not None]
    assert counted, "there were seconds"
    of_node = await api.json("GET", f"/v1/series?name=redis_ms&node={api.node.boot}")
    assert any(value is not None and value > 0 for value in of_node["values"])
    for step, count in ((10, 720), (60, 1440)):
        coarse = await api.json("GET", f"/v1/series?name=ack_p99_ms&step={step}")
        assert (len(coarse["values"]), coarse["start"] % (step * 1000)) == (count, 0)


@pytest.mark.parametrize(
    ("query", "status", "field"),
    [
        ("", 422, "name"),
        ("?name=nothing", 422, "name"),
        ("?name=pushes&step=2", 422, "step"),
        ("?name=pushes&step=x", 422, "step"),
        ("?name=pushes&node=nowhere", 404, "node"),
        ("?name=pushes&since=1", 422, "since"),
    ],
)
@pytest_twisted.ensureDeferred
async def test_a_figure_that_is_none_is_refused(
    api: API, query: str, status: int, field: str
) -> None:
    answer = await api.request("GET", f"/v1/series{query}")
    assert (answer.status, answer.json()["field"]) == (status, field)


# --- The trail -----------------------------------------------------------------------------------


@pytest_twisted.ensureDeferred
async def test_writes_and_refused_keys_are_in_the_trail_and_messages_are_not(api: API) -> None:
    token = await api.register()
    await api.request("PUT", f"/v1/users/anna/devices/{token}", key="push-key")
    await api.push({"user": "anna"})
    await api.json("GET", f"/v1/devices/{token}")
    await api.json("POST", "/v1/bans", {"user": "mallory"})
    await api.request("DELETE", "/v1/bans?user=nobody")
    hook = {"url": "https://8.8.8.8:8443/hush?hush=hush", "types": ["chat.message"]}
    await api.json("POST", "/v1/webhooks", hook)
    await api.request("GET", "/v1/stats", key="wrong")
    await api.request("DELETE", f"/v1/devices/{token}", key="push-key")
    await api.request("GET", "/v1/stats", key=None)
    await api.node.domain.observer.audit.store_all()
    page = await api.json("GET", "/v1/audit")
    rows = {(each["key"], each["route"], each["target"], each["status"]) for each in page["audit"]}
    assert rows == {
        ("push-key", "PUT /v1/users/{user}/devices/{token}", f"anna/{token}", 204),
        ("admin-key", "POST /v1/bans", "mallory", 201),
        ("admin-key", "DELETE /v1/bans", "nobody", 404),
        ("admin-key", "POST /v1/webhooks", "https://8.8.8.8:8443", 201),
        (None, "GET /v1/stats", "", 401),
        ("push-key", "DELETE /v1/devices/{token}", token, 403),
    }
    assert {each["ip"] for each in page["audit"]} == {"192.0.2.7"}
    forbidden = await api.request("GET", "/v1/audit", key="read-key")
    assert forbidden.status == 403
    assert (await api.request("GET", "/v1/config", key="read-key")).status == 403


# --- Events --------------------------------------------------------------------------------------


class Followed:
    """A client of the stream, in memory."""

    def __init__(self, api: API, query: str = "", key: str = "read-key") -> None:
        self.connection = Connection(api._site, "192.0.2.7")
        self.connection.send(make_request("GET", f"/v1/events{query}", None, key=key))

    @property
    def text(self) -> str:
        return self.connection.transport.value().decode()

    @property
    def began(self) -> bool:
        return ": events" in self.text

    @property
    def events(self) -> list[tuple[str, dict[str, Any]]]:
        kinds = [line[7:] for line in self.text.split("\n") if line.startswith("event: ")]
        datas = [json.loads(line[6:]) for line in self.text.split("\n") if line.startswith("data:")]
        return list(zip(kinds, datas, strict=True))


@pytest_twisted.ensureDeferred
async def test_events_come_as_they_happen_and_end_with_their_client(
    api: API, connected: Connect, wait_until: WaitUntil
) -> None:
    followed = Followed(api)
    await wait_until(lambda: followed.began)
    assert "Content-Type: text/event-stream\r\n" in followed.text
    device = await connected()
    message = (await api.push({"token": device.token}))["id"]
    await wait_until(lambda: bool(device.client.pushes))
    device.client.ack_all()
    await wait_until(lambda: len(followed.events) == 3)
    events = dict(followed.events)
    assert events["connected"]["session"] == device.session
    assert events["connected"]["ip"] == "127.0.0.1"
    assert events["pushed"]["message"] == message
    assert events["acknowledged"]["message"] == message
    assert {each["token"] for each in events.values()} == {device.token}
    assert {each["node"] for each in events.values()} == {api.node.boot}
    relay = api.node.domain.observer.relay
    assert len(relay._followers) == 1
    followed.connection.close()
    assert len(relay._followers) == 0
    assert not api.node.domain.observer.events.wants("pushed")


@pytest_twisted.ensureDeferred
async def test_what_is_over_200_a_second_is_told_as_skipped(
    api: API, wait_until: WaitUntil
) -> None:
    followed = Followed(api, "?kinds=redirected")
    await wait_until(lambda: followed.began)
    for _ in range(1000):
        api.node.domain.observer.events.record("redirected", token="t")
    await wait_until(lambda: any(kind == "skipped" for kind, _ in followed.events))
    told = [data["n"] for kind, data in followed.events if kind == "skipped"]
    came = [data for kind, data in followed.events if kind == "redirected"]
    assert len(came) + sum(told) == 1000
    assert len(came) <= 400  # of two seconds at most
    followed.connection.close()


@pytest_twisted.ensureDeferred
async def test_a_silent_node_is_told_in_the_stream(
    api: API, silent_node: str, wait_until: WaitUntil
) -> None:
    followed = Followed(api)
    await wait_until(lambda: bool(followed.events))
    kind, data = followed.events[0]
    assert (kind, data["node"], data["code"]) == ("skipped", silent_node, "silent")
    followed.connection.close()


@pytest_twisted.ensureDeferred
async def test_a_client_that_does_not_read_holds_nothing_up(
    api: API, wait_until: WaitUntil
) -> None:
    followed = Followed(api, "?kinds=redirected")
    await wait_until(lambda: followed.began)
    followed.connection.protocol.pauseProducing()  # as the transport does when it is full
    before = len(followed.text)
    for _ in range(50):
        api.node.domain.observer.events.record("redirected", token="t")
    assert len(followed.text) == before
    followed.connection.protocol.resumeProducing()
    await wait_until(lambda: bool(followed.events))
    assert [(kind, data["n"]) for kind, data in followed.events] == [("skipped", 50)]
    followed.connection.close()


@pytest.mark.parametrize(
    ("query", "status", "field"),
    [
        ("?kinds=connected,nothing", 422, "kinds"),
        ("?kinds=", 422, "kinds"),
        ("?kinds=connected,", 422, "kinds"),
        ("?user=a%20b", 422, "user"),
        ("?token=", 422, "token"),
        ("?token=abc", 422, "token"),
        ("?token=03DMV9EK31WTF=", 422, "token"),
        ("?node=nowhere", 404, "node"),
        ("?since=1", 422, "since"),
    ],
)
@pytest_twisted.ensureDeferred
async def test_a_filter_that_is_none_is_refused(
    api: API, query: str, status: int, field: str
) -> None:
    answer = await api.request("GET", f"/v1/events{query}")
    assert (answer.status, answer.json()["field"]) == (status, field)


@pytest.mark.parametrize("kinds", ["skipped", "connected,skipped"])
@pytest_twisted.ensureDeferred
async def test_skipped_always_comes_and_may_be_asked_for(
    api: API, silent_node: str, wait_until: WaitUntil, kinds: str
) -> None:
    followed = Followed(api, f"?kinds={kinds}")
    await wait_until(lambda: bool(followed.events))
    assert [(kind, data["node"]) for kind, data in followed.events] == [("skipped", silent_node)]
    followed.connection.close()


@pytest_twisted.ensureDeferred
async def test_so_many_clients_may_follow_and_one_more_may_not(
    make_api: MakeAPI, wait_until: WaitUntil
) -> None:
    api = await make_api()
    followed = [Followed(api) for _ in range(32)]
    await wait_until(lambda: all(each.began for each in followed))
    answer = await api.request("GET", "/v1/events")
    assert (answer.status, answer.json()["code"]) == (503, "unavailable")
    followed.pop().connection.close()
    last = Followed(api)
    await wait_until(lambda: last.began)
    for each in (*followed, last):
        each.connection.close()


@pytest_twisted.ensureDeferred
async def test_a_key_that_is_not_valid_any_more_ends_the_stream(
    api: API, wait_until: WaitUntil
) -> None:
    followed = Followed(api)
    await wait_until(lambda: followed.began)
    api.node.keyring.replace([])
    await wait_until(lambda: len(api.node.domain.observer.relay._followers) == 0)
    await wait_until(lambda: followed.text.endswith("0\r\n\r\n"))  # the last chunk
    followed.connection.close()
