"""The routes of the demo over HTTP: who may use them, what they refuse, and that they are off."""

from __future__ import annotations

import json
import signal
import ssl
from collections.abc import Iterator
from http.client import HTTPConnection, HTTPSConnection
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from benchmarks.running import Running, started_server
from push.daemons.config.loading import SettingsError, load
from push.http.demo.acts import CUTS_PER_MINUTE, PUSHES_PER_MINUTE
from push.http.demo.guard import admit
from push.http.demo.page import Page
from push.http.framework.client_address import HttpCaller
from push.wire.errors import RequestError
from tests.live.tls import Authority
from tests.waiting import DEADLINE_SECONDS, wait_for

ACTS = ("start", "leave", "state", "push", "drain", "cut")


class Answer(NamedTuple):
    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> dict[str, Any]:
        value: dict[str, Any] = json.loads(self.body)
        return value

    @property
    def code(self) -> str:
        return str(self.json["code"])


def ask(
    server: Running,
    path: str,
    body: object = None,
    headers: dict[str, str] | None = None,
    method: str = "",
) -> Answer:
    """A GET, or a POST of `body` as JSON; bytes are sent as they are."""
    connection = HTTPConnection(*server.http, timeout=DEADLINE_SECONDS)
    raw = body if isinstance(body, bytes | None) else json.dumps(body).encode()
    sent = (
        {"Content-Type": "application/json", **(headers or {})}
        if raw is not None
        else headers or {}
    )
    connection.request(method or ("GET" if raw is None else "POST"), path, raw, sent)
    answer = connection.getresponse()
    found = Answer(answer.status, {k.lower(): v for k, v in answer.getheaders()}, answer.read())
    connection.close()
    return found


def act(server: Running, what: str, **body: object) -> Answer:
    return ask(server, f"/demo/api/{what}", body)


@pytest.fixture(scope="module")
def server() -> Iterator[Running]:
    """`twistd push` with the demo, without the launcher of `make demo`."""
    with started_server(http_demo="true") as running:
        yield running


@pytest.fixture
def ticket(server: Running) -> str:
    return str(act(server, "start").json["ticket"])


# --- off, and refused at the start ---------------------------------------------------------------


@pytest.mark.parametrize("path", ["/demo", "/demo/main.js", "/demo/en.json"])
def test_it_is_off_by_default(push_server: Running, path: str) -> None:
    assert ask(push_server, path).code == "not_found"


@pytest.mark.parametrize("what", ACTS)
def test_its_acts_are_off_by_default(push_server: Running, what: str) -> None:
    assert ask(push_server, f"/demo/api/{what}", {}).code == "not_found"


@pytest.mark.parametrize(
    "listen",
    ["0.0.0.0:8080", "[::]:8080", "192.0.2.1:8080", "example.com:8080", "[::ffff:0.0.0.0]:80"],
)
def test_off_loopback_it_is_refused_at_the_start(listen: str) -> None:
    with pytest.raises(SettingsError) as error:
        load(options={"http-demo": "true", "http-listen": listen})
    assert str(error.value).startswith("http.demo: ")
    assert "\n" not in str(error.value)
    assert load(options={"http-listen": listen}).http.demo is False
    pair = {"http-certificate": "a.crt", "http-private-key": "a.key"}
    assert load(options={"http-demo": "true", "http-listen": listen, **pair}).http.demo is True


@pytest.mark.parametrize("listen", ["127.0.0.1:0", "[::1]:8080", "localhost:80", "127.8.8.8:1", ""])
def test_on_loopback_it_may_be_on(listen: str) -> None:
    assert load(options={"http-demo": "true", "http-listen": listen}).http.demo is True


def test_an_operator_is_told(server: Running) -> None:
    (note,) = [note for note in ask(server, "/readyz").json["notes"] if "demo" in note]
    assert "not for a deployment with real users" in note


# --- who may use it ------------------------------------------------------------------------------

NEAR = HttpCaller("127.0.0.1", True, False, "127.0.0.1:8080", None)


@pytest.mark.parametrize(
    "caller",
    [
        NEAR,
        NEAR._replace(host="localhost:8080"),
        NEAR._replace(host="[::1]:8080", ip="::1"),
        NEAR._replace(host="localhost"),
        NEAR._replace(origin="http://127.0.0.1:8080"),
        NEAR._replace(ip="192.0.2.1", is_near=False, is_secure=True, host="demo.example"),
        NEAR._replace(
            is_near=False, is_secure=True, host="demo.example", origin="https://demo.example"
        ),
    ],
)
def test_who_may(caller: HttpCaller) -> None:
    admit(caller)


@pytest.mark.parametrize(
    "caller",
    [
        NEAR._replace(ip="192.0.2.1", is_near=False),
        NEAR._replace(is_near=False),  # passed on by a proxy
        NEAR._replace(host="evil.example"),  # a name that was made to lead here
        NEAR._replace(host="127.0.0.1.evil.example:8080"),
        NEAR._replace(host=""),
        NEAR._replace(host="127.0.0.1:8080@evil.example"),
        NEAR._replace(origin="http://evil.example"),
        NEAR._replace(origin="http://127.0.0.1:9999"),
        NEAR._replace(origin="null"),
        NEAR._replace(origin=""),
        NEAR._replace(origin="http://[", host="["),
        NEAR._replace(
            is_near=False, is_secure=True, host="demo.example", origin="https://evil.example"
        ),
    ],
)
def test_who_may_not(caller: HttpCaller) -> None:
    with pytest.raises(RequestError) as refusal:
        admit(caller)
    assert refusal.value.code == "forbidden"


@pytest.mark.parametrize(
    "headers",
    [
        {"Host": "evil.example"},
        {"Origin": "http://evil.example"},
        {"X-Forwarded-For": "192.0.2.1"},
        {"Forwarded": "for=192.0.2.1"},
        # Nobody has said that this proxy is to be believed.
        {"X-Forwarded-For": "127.0.0.1", "X-Forwarded-Proto": "https"},
    ],
)
@pytest.mark.parametrize("path", ["/demo", "/demo/main.js", *(f"/demo/api/{act}" for act in ACTS)])
def test_others_get_nothing(server: Running, path: str, headers: dict[str, str]) -> None:
    answer = ask(server, path, {} if "/api/" in path else None, headers)
    assert (answer.status, answer.code) == (403, "forbidden")
    assert "access-control-allow-origin" not in answer.headers


def test_over_tls_anybody_may(tmp_path: Path) -> None:
    pair = Authority(tmp_path, "ca").sign("demo")
    tls = {"http_certificate": str(pair.certificate), "http_private_key": str(pair.key)}
    with started_server(http_demo="true", http_listen="0.0.0.0:0", **tls) as public:
        context, address = ssl._create_unverified_context(), ("127.0.0.1", public.http[1])
        connection = HTTPSConnection(*address, timeout=DEADLINE_SECONDS, context=context)
        for headers, status in (
            ({"Host": "demo.example"}, 200),
            ({"Host": "demo.example", "X-Forwarded-For": "192.0.2.1"}, 200),
            ({"Host": "demo.example", "Origin": "https://evil.example"}, 403),
        ):
            connection.request("GET", "/demo", headers=headers)
            answer = connection.getresponse()
            answer.read()
            assert answer.status == status, headers
        connection.close()


def test_a_trusted_proxy_says_whether_it_was_tls() -> None:
    with started_server(http_demo="true", http_trusted_proxies='["127.0.0.1"]') as behind:
        headers = {"Host": "demo.example", "X-Forwarded-For": "192.0.2.1"}
        assert ask(behind, "/demo", headers={**headers, "X-Forwarded-Proto": "https"}).status == 200
        for proto in ({}, {"X-Forwarded-Proto": "http"}, {"X-Forwarded-Proto": "https,http"}):
            assert ask(behind, "/demo", headers={**headers, **proto}).status == 403


@pytest.mark.parametrize("what", ACTS)
def test_a_page_of_another_site_cannot_send_what_an_act_takes(server: Running, what: str) -> None:
    """A browser sends text unasked; it asks before it sends JSON, and that is not allowed."""
    plain = ask(server, f"/demo/api/{what}", b"{}", {"Content-Type": "text/plain"})
    assert plain.code == "unsupported_media_type"
    assert ask(server, f"/demo/api/{what}", b"", {"Content-Type": "text/plain"}).status == 415
    before = {"Origin": "http://evil.example", "Access-Control-Request-Method": "POST"}
    preflight = ask(server, f"/demo/api/{what}", headers=before, method="OPTIONS")
    assert not [name for name in preflight.headers if name.startswith("access-control")]


# --- the page ------------------------------------------------------------------------------------


def test_the_page_may_load_from_here_alone(server: Running) -> None:
    policy = ask(server, "/demo").headers["content-security-policy"]
    rules = dict(rule.strip().partition(" ")[::2] for rule in policy.split(";"))
    assert rules["default-src"] == "'none'"
    assert (rules["script-src"], rules["style-src"]) == ("'self'", "'self'")
    assert rules["frame-ancestors"] == rules["base-uri"] == rules["form-action"] == "'none'"
    assert "unsafe" not in policy
    assert "https:" not in policy


def test_connectors_may_be_connected_to_on_any_port() -> None:
    urls = ["ws://127.0.0.1:8091/ws", "wss://[2001:db8::1]:6793/ws", "wss://push.example/ws"]
    policy = dict(Page().index(urls).headers)[b"Content-Security-Policy"].decode()
    (rule,) = [rule.strip() for rule in policy.split(";") if "connect-src" in rule]
    assert rule == (
        "connect-src 'self' ws://127.0.0.1:* wss://[2001:db8::1]:* wss://push.example:*"
    )


@pytest.mark.parametrize(
    "name", ["nothing.js", "..%2Fpush.js", "index", "package.json", "push.d.ts"]
)
def test_only_its_own_files_are_served(server: Running, name: str) -> None:
    assert ask(server, f"/demo/{name}").status in (404, 422)


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("main.js", "text/javascript; charset=utf-8"),
        ("push.js", "text/javascript; charset=utf-8"),
        ("demo.css", "text/css; charset=utf-8"),
        ("zh.json", "application/json"),
        ("icon.svg", "image/svg+xml"),
    ],
)
def test_files_say_what_they_are(server: Running, name: str, kind: str) -> None:
    answer = ask(server, f"/demo/{name}")
    assert (answer.status, answer.headers["content-type"]) == (200, kind)
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["content-security-policy"].startswith("default-src 'none'")


def test_its_routes_are_documented_where_they_are(server: Running, push_server: Running) -> None:
    paths = ask(server, "/openapi.json").json["paths"]
    assert {f"/demo/api/{what}" for what in ACTS} < set(paths)
    assert all(
        not operation.get("security")
        for path, operations in paths.items()
        if path.startswith("/demo")
        for operation in operations.values()
    )
    assert b"/demo/api/push" in ask(server, "/docs").body
    assert not [path for path in ask(push_server, "/openapi.json").json["paths"] if "demo" in path]


# --- what a page may do --------------------------------------------------------------------------


def test_a_start_tells_what_a_page_needs_and_no_key(server: Running) -> None:
    answer = act(server, "start", name="anna")
    assert answer.status == 201
    assert answer.headers["cache-control"] == "no-store"
    told = answer.json
    assert told["user"] == "demo-anna"
    assert set(told) == {
        "user", "token", "secret", "ticket", "group", "topic", "servers", "ends",
    }  # fmt: skip
    assert server.admin_key not in answer.body.decode()
    assert act(server, "start", name="anna").code == "already_exists"
    assert act(server, "leave", ticket=told["ticket"]).status == 204
    assert act(server, "state", ticket=told["ticket"]).code == "unauthenticated"
    key = {"Authorization": f"Bearer {server.admin_key}"}
    assert ask(server, f"/v1/devices/{told['token']}", headers=key).status == 404
    assert ask(server, "/v1/users/demo-anna", headers=key).json["devices"] == []


@pytest.mark.parametrize(
    "name", ["", "Anna", "an na", "-a", "a-", "a" * 25, "a\n", "ä", "../a", "a.b", "host-", 5, None]
)
def test_a_wrong_name_is_refused(server: Running, name: object) -> None:
    answer = act(server, "start", name=name)
    assert (answer.status, answer.json["field"]) == (422, "name")


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGKILL], ids=["stopped", "killed"])
def test_a_daemon_leaves_nobody_behind(tmp_path: Path, how: signal.Signals) -> None:
    data = tmp_path / "data"
    with started_server("push", data, http_demo="true") as first:
        told = act(first, "start", name="anna").json
        journal = json.loads((data / "demo-users.json").read_text())
        assert {left["user"] for left in journal} == {"demo-anna", "demo-host"}
        first.process.send_signal(how)
        first.process.wait(DEADLINE_SECONDS)
    assert (json.loads((data / "demo-users.json").read_text()) == []) is (how == signal.SIGTERM)
    with started_server("push", data, http_demo="true") as second:
        key = {"Authorization": f"Bearer {second.admin_key}"}
        wait_for(lambda: ask(second, f"/v1/devices/{told['token']}", headers=key).status == 404)
        wait_for(lambda: json.loads((data / "demo-users.json").read_text()) == [])
        assert ask(second, f"/v1/groups/{told['group']}", headers=key).code == "unknown_group"
        assert act(second, "state", ticket=told["ticket"]).code == "unauthenticated"
        assert act(second, "start", name="anna").status == 201


def test_the_host_of_the_group_is_nobody_s_name(server: Running) -> None:
    assert act(server, "start", name="host").code == "already_exists"


@pytest.mark.parametrize("wrong", ["", "x", "A" * 22, "x" * 65, 1, None])
@pytest.mark.parametrize("what", ACTS[1:])
def test_without_its_ticket_nothing_is_done(server: Running, what: str, wrong: object) -> None:
    more = {
        "push": {"to": "device", "text": "x"},
        "cut": {"how": "cut", "seconds": 5},
    }
    answer = act(server, what, ticket=wrong, **more.get(what, {}))
    assert answer.status in (401, 422)


def test_pushes_of_each_kind_go_to_the_demo_alone(server: Running, ticket: str) -> None:
    other = act(server, "start").json
    told = {
        to: act(server, "push", ticket=ticket, to=to, text="hello").json["to"]
        for to in ("device", "user", "topic", "everyone")
    }
    assert told["topic"] == {"topic": "demo-news"}
    assert told["everyone"] == {"group": other["group"]}
    assert list(told["device"]) == ["token"]
    assert told["user"]["user"].startswith("demo-")
    to_other = act(server, "push", ticket=ticket, to="user", user=other["user"], text="x")
    assert (to_other.status, to_other.json["to"]) == (202, {"user": other["user"]})
    message = wait_for(lambda: act(server, "state", ticket=ticket).json["message"])
    assert (message["id"], message["addressed"]) == (to_other.json["id"], 1)


@pytest.mark.parametrize(
    "user", ["anna", "demo-nobody", "demo-host", "..", "", "demo-a b", "x" * 65]
)
def test_a_push_to_somebody_else_is_refused(server: Running, ticket: str, user: str) -> None:
    answer = act(server, "push", ticket=ticket, to="user", user=user, text="hello")
    assert (answer.status, answer.json["field"]) in ((404, "user"), (422, "user"))


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"to": "all"}, "to"),
        ({"to": "group"}, "to"),
        ({"to": {"all": True}}, "to"),
        ({"text": ""}, "text"),
        ({"text": "x" * 201}, "text"),
        ({"text": {"a": 1}}, "text"),
        ({"user": "demo-a"}, "user"),
        ({"data": {}}, "data"),
        ({"ttl": 1}, "ttl"),
    ],
)
def test_a_wrong_push_is_refused(
    server: Running, ticket: str, change: dict[str, object], field: str
) -> None:
    body = {"ticket": ticket, "to": "device", "text": "hello", **change}
    answer = ask(server, "/demo/api/push", body)
    assert (answer.status, answer.json["field"]) == (422, field)


def test_pushes_are_limited_for_each_page(server: Running, ticket: str) -> None:
    other = act(server, "start").json["ticket"]
    statuses = [
        act(server, "push", ticket=ticket, to="device", text="x").status
        for _ in range(PUSHES_PER_MINUTE + 1)
    ]
    assert statuses == [202] * PUSHES_PER_MINUTE + [429]
    limited = act(server, "push", ticket=ticket, to="device", text="x")
    assert 1 <= int(limited.headers["retry-after"]) <= 60
    assert act(server, "push", ticket=other, to="device", text="x").status == 202


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"seconds": 2}, "seconds"),
        ({"seconds": 21}, "seconds"),
        ({"seconds": 5.5}, "seconds"),
        ({"how": "burn"}, "how"),
        ({"token": "x"}, "token"),
    ],
)
def test_a_wrong_cut_is_refused(
    server: Running, ticket: str, change: dict[str, object], field: str
) -> None:
    answer = ask(server, "/demo/api/cut", {"ticket": ticket, "how": "cut", "seconds": 5, **change})
    assert (answer.status, answer.json["field"]) == (422, field)


def test_without_the_launcher_nothing_is_drained_or_cut(server: Running, ticket: str) -> None:
    assert act(server, "state", ticket=ticket).json["launcher"] is False
    assert act(server, "drain", ticket=ticket).code == "not_allowed"
    answers = [
        act(server, "cut", ticket=ticket, how="cut", seconds=5).code
        for _ in range(CUTS_PER_MINUTE + 1)
    ]
    assert answers == ["not_allowed"] * CUTS_PER_MINUTE + ["rate_limited"]


def test_a_launcher_that_is_not_there_is_said(server: Running) -> None:
    with started_server(http_demo="true", http_demo_launcher="/nowhere/launcher.sock") as alone:
        ticket = act(alone, "start").json["ticket"]
        for _ in range(2):  # a failed cut is no cut
            assert act(alone, "cut", ticket=ticket, how="cut", seconds=5).code == "unavailable"
        assert act(alone, "drain", ticket=ticket).code == "unavailable"
