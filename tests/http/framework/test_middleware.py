"""What every request passes: the router, keys, headers, content types, and what goes wrong."""

from __future__ import annotations

from typing import Any

import pytest

from push.http.framework.problems import ERRORS
from push.redis.connection.errors import StoreUnavailable
from push.wire.errors import STATUS_OF_CODE, RequestError

PUSH = {"to": {"all": True}, "data": 1}


# --- the router --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "path",
    [
        "/nope",
        "/v1",
        "/v1/push/",
        "/v1//push",
        "//v1/push",
        "//v1/stats",
        "///v1/stats?a=b",
        "//",
        "//healthz",
        "http://host//healthz",
        "/healthz/x",
        "/%C3%A9",
    ],
)
def test_a_path_that_is_not_there_is_not_found(web: Any, path: str) -> None:
    web.request("GET", path, key=None).assert_problem("not_found")


@pytest.mark.parametrize("path", ["/%ff", "/v1/devices/%80", "nope", "ftp://host/healthz", "/é"])
def test_a_path_that_is_not_text_is_malformed(web: Any, path: str) -> None:
    web.request("GET", path).assert_problem("malformed")


@pytest.mark.parametrize("method", ["GET", "HEAD", "PUT", "DELETE", "PATCH", "TRACE", "BREW"])
def test_another_method_is_refused_with_those_that_work(web: Any, method: str) -> None:
    response = web.request(method, "/v1/push")
    assert (response.status, response.headers["allow"]) == (405, "OPTIONS, POST")
    if method != "HEAD":
        response.assert_problem("method_not_allowed")


def test_two_routes_of_one_path_are_both_allowed(web: Any) -> None:
    response = web.request("PATCH", "/v1/devices/x")
    assert response.headers["allow"] == "DELETE, GET, HEAD, OPTIONS"


def test_options_lists_the_methods_of_a_path(web: Any) -> None:
    response = web.request("OPTIONS", "/v1/push", key=None)
    assert (response.status, response.headers["allow"]) == (204, "OPTIONS, POST")
    assert web.request("OPTIONS", "/nope", key=None).status == 404


def test_head_is_get_without_the_body(web: Any) -> None:
    got = web.request("GET", "/healthz")
    head = web.request("HEAD", "/healthz")
    assert (head.status, head.content) == (200, b"")
    assert head.headers["x-length"] == got.headers["content-length"]


@pytest.mark.parametrize("path", ["/nope", "/v1/users/%ff", "/v1/users/a%2Fb", "/v1/users/.."])
def test_head_of_a_refusal_has_its_length_and_no_line_in_the_log(
    web: Any, path: str, log_lines: list[str]
) -> None:
    got = web.request("GET", path)
    head = web.request("HEAD", path)
    assert (head.status, head.content) == (got.status, b"")
    assert head.headers["x-length"] == got.headers["content-length"]
    assert not [line for line in log_lines if "HEAD" in line]


@pytest.mark.parametrize(
    "host", ["x" * 200, "a..b", "h_1", "localhost:8080", "[::1]", "[2001:db8::7]:80", "192.0.2.1"]
)
def test_no_host_that_can_be_one_disturbs(web: Any, host: str) -> None:
    assert web.request("GET", "/healthz", headers={"Host": host}).status == 200


# --- keys --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "authorization",
    ["", "Bearer", "Bearer ", "Bearer wrong", "admin-key", "Basic admin-key", "Bearer admin-key x"],
)
def test_without_a_right_key_a_request_is_unauthenticated(web: Any, authorization: str) -> None:
    response = web.push(PUSH, key=None, headers={"Authorization": authorization})
    response.assert_problem("unauthenticated")
    assert response.headers["www-authenticate"].startswith("Bearer ")


def test_a_key_in_bytes_that_are_not_text_is_unauthenticated(web: Any) -> None:
    response = web.push(PUSH, headers={"Authorization": "Bearer \udcff\udcfe"})
    response.assert_problem("unauthenticated")


@pytest.mark.parametrize("scheme", ["Bearer", "bearer", "BEARER"])
def test_the_scheme_may_be_written_in_any_case(web: Any, scheme: str) -> None:
    headers = {"Authorization": f"{scheme} push-key"}
    assert web.push(PUSH, key=None, headers=headers).status == 202


@pytest.mark.parametrize(
    ("method", "path", "key"),
    [
        ("POST", "/v1/push", "read-key"),
        ("POST", "/v1/push/batch", "read-key"),
        ("GET", "/v1/devices/x", "push-key"),
        ("DELETE", "/v1/devices/x", "push-key"),
        ("PUT", "/v1/users/u/devices/x", "app-key"),
        ("DELETE", "/v1/users/u/devices/x", "read-key"),
        ("GET", "/v1/stats", "app-key"),
        ("POST", "/v1/devices", "push-key"),
        ("GET", "/v1/servers", "read-key"),
        ("GET", "/metrics", "app-key"),
    ],
)
def test_a_key_without_the_scope_is_forbidden(web: Any, method: str, path: str, key: str) -> None:
    problem = web.request(method, path, key=key).assert_problem("forbidden")
    assert key in problem["detail"]


def test_a_wrong_key_is_told_before_a_wrong_body(web: Any) -> None:
    web.push(b"{", key="wrong", headers={"Content-Type": "text/plain"}).assert_problem(
        "unauthenticated"
    )


# --- query and headers -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("verbose", "verbose"),
        ("verbose=", "verbose"),
        ("a=1&b=2", "a"),
        ("%C3%A4=1", "ä"),
        ("carrier=udp", "carrier"),
        ("carrier=", "carrier"),
        ("carrier=tls&carrier=tcp", "carrier"),
        ("%ff=1", "\N{REPLACEMENT CHARACTER}"),
        ("carrier=tls;x=1", "carrier"),
    ],
)
def test_an_unknown_or_wrong_query_parameter_is_named(web: Any, query: str, field: str) -> None:
    web.request("GET", f"/v1/servers?{query}").assert_problem("invalid", field)


@pytest.mark.parametrize("path", ["/healthz", "/docs", "/v1/stats", "/openapi.json"])
def test_where_no_parameter_is_known_each_is_refused(web: Any, path: str) -> None:
    web.request("GET", f"{path}?x=1").assert_problem("invalid", "x")


def test_an_empty_query_is_none(web: Any) -> None:
    assert web.request("GET", "/healthz?").status == 200


# --- idempotency keys --------------------------------------------------------------------------


def keys_of(web: Any, path: str, body: Any, key: str | None, api_key: str) -> list[str | None]:
    headers = {} if key is None else {"idempotency-key": key}
    before = len(web.behind.keys)
    assert web.request("POST", path, body, key=api_key, headers=headers).status < 300
    return list(web.behind.keys[before:])


def test_an_idempotency_key_is_its_owners_for_one_method_and_path(web: Any) -> None:
    first = keys_of(web, "/v1/push", PUSH, "k", "admin-key")
    assert keys_of(web, "/v1/push", PUSH, "k", "admin-key") == first
    others = [
        keys_of(web, "/v1/push", PUSH, "other", "admin-key"),
        keys_of(web, "/v1/push", PUSH, "k", "push-key"),
        keys_of(web, "/v1/push/batch", [PUSH], "k", "admin-key"),
    ]
    assert len({str(keys) for keys in [first, *others]}) == 4
    assert keys_of(web, "/v1/push", PUSH, None, "admin-key") == [None]


def test_items_of_a_batch_have_their_own_key_or_one_of_their_place(web: Any) -> None:
    items = [PUSH, {**PUSH, "idempotency_key": "k"}, PUSH]
    with_header = keys_of(web, "/v1/push/batch", items, "batch", "admin-key")
    assert len(set(with_header)) == 3
    without = keys_of(web, "/v1/push/batch", items, None, "admin-key")
    assert without == [None, with_header[1], None]
    assert keys_of(web, "/v1/push/batch", items[1:2], None, "admin-key") == [with_header[1]]


@pytest.mark.parametrize("key", ["", "x" * 256, "a\tb", "\u00e4"])
def test_what_is_no_idempotency_key_is_refused(web: Any, key: str) -> None:
    response = web.request("POST", "/v1/push", PUSH, headers={"idempotency-key": key or " "})
    response.assert_problem("invalid", "Idempotency-Key")
    item = {**PUSH, "idempotency_key": key}
    result = web.request("POST", "/v1/push/batch", [item]).json()["results"][0]
    assert (result["status"], result["field"]) == (422, "idempotency_key")
    assert web.behind.pushed == []


# --- bodies ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "content_type",
    [
        "",
        "text/plain",
        "application/x-www-form-urlencoded",
        "application/jsonx",
        "application/json; charset=latin-1",
        "application/problem+json",
        "multipart/form-data; boundary=x",
    ],
)
def test_a_body_of_another_type_is_unsupported(web: Any, content_type: str) -> None:
    response = web.push(PUSH, headers={"Content-Type": content_type})
    response.assert_problem("unsupported_media_type", "Content-Type")


@pytest.mark.parametrize(
    "content_type",
    [
        "application/json",
        "Application/JSON",
        "application/json;charset=utf-8",
        'application/json; charset="UTF-8"',
        "application/json; version=1",
    ],
)
def test_json_may_have_parameters(web: Any, content_type: str) -> None:
    assert web.push(PUSH, headers={"Content-Type": content_type}).status == 202


DEEP = b'{"to":{"all":true},"data":%b}'


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"nonsense",
        b"{'to': 1}",
        b'{"to":{"all":true},"data":1}}',
        b'{"to":{"all":true},"data":1,}',
        b'{"to":{"all":true},"data":NaN}',
        b'{"to":{"all":true},"data":"\xff"}',
        b"\xef\xbb\xbf" + b'{"to":{"all":true},"data":1}',
        b'{"to":1, garbage',
        b"\x00",
        DEEP % (b"[" * 32 + b"]" * 32),
        DEEP % (b'{"a":' * 32 + b"1" + b"}" * 32),
        b"[" * 100_000,
        b"[" * 100_000 + b"]" * 100_000,
        b'"\\ud800"',
    ],
)
def test_bytes_that_are_not_json_are_malformed(web: Any, body: bytes) -> None:
    web.push(body, headers={"Content-Type": "application/json"}).assert_problem("malformed")


def test_json_may_nest_32_deep(web: Any) -> None:
    assert web.push(DEEP % (b"[" * 31 + b"]" * 31)).status == 202
    assert web.push(DEEP % (b'"' + b"[" * 50 + b'"')).status == 202


@pytest.mark.parametrize("body", [b"[]", b"null", b"1", b'"text"', b"true"])
def test_json_that_is_no_object_is_invalid(web: Any, body: bytes) -> None:
    web.push(body).assert_problem("invalid")


def test_a_body_where_none_is_described_may_only_be_empty(web: Any) -> None:
    path = "/v1/users/anna/devices/03DMV9EK31WTE="
    web.request("PUT", path, {"force": True}).assert_problem("invalid", "force")
    web.request("PUT", path, b"{").assert_problem("malformed")
    web.request("PUT", path, b"x", headers={"Content-Type": ""}).assert_problem(
        "unsupported_media_type", "Content-Type"
    )
    assert web.request("PUT", path, {}).status == 204


# --- what goes wrong behind ----------------------------------------------------------------------


@pytest.mark.parametrize("code", sorted(STATUS_OF_CODE))
def test_each_refusal_has_its_status(web: Any, code: str) -> None:
    web.behind.error = RequestError(code, "because", field="f")
    response = web.push(PUSH)
    assert response.status == STATUS_OF_CODE[code]
    response.assert_problem(code, "f")


def test_a_refusal_says_when_to_come_back(web: Any) -> None:
    web.behind.error = RequestError("rate_limited", "slower", after_seconds=17)
    response = web.request("POST", "/v1/devices", {"platform": "p", "app": "a"})
    response.assert_problem("rate_limited")
    assert response.headers["retry-after"] == "17"


def test_without_the_store_the_answer_is_unavailable(web: Any) -> None:
    web.behind.error = StoreUnavailable("unix:///secret/path is away", unknown=True)
    response = web.push(PUSH)
    problem = response.assert_problem("unavailable")
    assert response.headers["retry-after"] == "1"
    assert "secret" not in problem["detail"]
    assert "not known" in problem["detail"]


def test_our_own_fault_is_logged_once_and_not_shown(web: Any, flush_logged_errors: Any) -> None:
    web.behind.error = ZeroDivisionError("private")
    response = web.push(PUSH)
    response.assert_problem("internal")
    assert b"private" not in response.content
    assert len(flush_logged_errors(ZeroDivisionError)) == 1
    assert web.request("GET", "/healthz").status == 200


def test_a_fault_in_reading_is_answered_alike(
    web: Any, flush_logged_errors: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*args: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr("push.http.framework.middleware.read_query", fail)
    web.request("GET", "/v1/servers").assert_problem("internal")
    assert len(flush_logged_errors(ZeroDivisionError)) == 1


def test_every_code_has_a_text() -> None:
    assert ERRORS.keys() == STATUS_OF_CODE.keys()


# --- other sites ---------------------------------------------------------------------------------

REGISTER = {"platform": "web", "app": "a"}
ORIGIN = {"Origin": "https://app.example"}


def cors_headers(response: Any) -> set[str]:
    return {name for name in response.headers if name.startswith("access-control")}


def test_by_default_no_other_site_may_call(web: Any) -> None:
    for method in ("POST", "OPTIONS"):
        body = REGISTER if method == "POST" else None
        response = web.request(method, "/v1/devices", body, headers=ORIGIN)
        assert cors_headers(response) == set()
        assert "vary" not in response.headers


def test_a_configured_site_may_register_devices(make_web: Any) -> None:
    web = make_web(origins=("https://app.example",))
    for response in (
        web.request("POST", "/v1/devices", REGISTER, headers=ORIGIN),
        web.request("GET", "/v1/servers", headers=ORIGIN),
        web.request("POST", "/v1/devices", REGISTER, key="wrong", headers=ORIGIN),
    ):
        assert response.headers["access-control-allow-origin"] == "https://app.example"
        assert response.headers["vary"] == "Origin"


def test_a_page_of_the_same_host_may_register_devices(make_web: Any) -> None:
    web = make_web(origins=("same-host",))
    for origin, allowed in (("http://localhost:1", True), ("http://elsewhere:1", False)):
        response = web.request("POST", "/v1/devices", REGISTER, headers={"Origin": origin})
        assert response.headers.get("access-control-allow-origin") == (origin if allowed else None)
        assert response.headers["vary"] == "Origin"


def test_a_preflight_is_answered_for_the_method_of_the_route(make_web: Any) -> None:
    web = make_web(origins=("https://app.example",))
    headers = {**ORIGIN, "Access-Control-Request-Method": "POST"}
    response = web.request("OPTIONS", "/v1/devices", key=None, headers=headers)
    assert response.status == 204
    assert response.headers["access-control-allow-methods"] == "POST"
    assert response.headers["access-control-allow-headers"] == "Authorization, Content-Type"
    assert response.headers["access-control-allow-origin"] == "https://app.example"


@pytest.mark.parametrize("origin", ["https://evil.example", "null", "https://app.example:8443"])
def test_another_site_gets_no_permission(make_web: Any, origin: str) -> None:
    web = make_web(origins=("https://app.example",))
    for method in ("OPTIONS", "POST"):
        body = REGISTER if method == "POST" else None
        response = web.request(method, "/v1/devices", body, headers={"Origin": origin})
        assert cors_headers(response) == set()
        assert response.headers["vary"] == "Origin"


def test_other_paths_never_have_permission(make_web: Any) -> None:
    web = make_web(origins=("https://app.example",))
    for method, path in (("POST", "/v1/push"), ("OPTIONS", "/v1/push"), ("GET", "/v1/stats")):
        body = PUSH if method == "POST" else None
        assert cors_headers(web.request(method, path, body, headers=ORIGIN)) == set()


def test_short_of_memory_nothing_new_is_begun_and_all_else_goes_on(make_web: Any) -> None:
    short = [True]
    web = make_web(is_short_of_memory=lambda: short[0])
    for path, sent in (("/v1/push", PUSH), ("/v1/push/batch", [PUSH])):
        response = web.request("POST", path, sent)
        response.assert_problem("unavailable")
        assert response.headers["retry-after"] == "10"
    assert web.request("GET", "/v1/topics").status == 200
    assert web.request("POST", "/v1/users/anna/kick").status == 200
    short[0] = False
    assert web.push(PUSH).status == 202
