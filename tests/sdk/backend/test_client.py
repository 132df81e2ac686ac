"""The HTTP client for backends, blocking and asyncio alike, against a scripted HTTP server."""

from __future__ import annotations

import asyncio
import random
import socket
import ssl
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from device_server import make_certificate, until
from http_server import Answer, HTTPServer, problem

from push.sdk.aio import PushClient
from push.sdk.backend import (
    AsyncPushAPI,
    BatchItem,
    DeliveryPage,
    DeviceDelivery,
    KeyOwner,
    MessageLedger,
    PushAPI,
    PushAPIError,
    PushAPIUnreachable,
    PushResult,
    Registration,
    Servers,
    push_item,
)
from push.sdk.errors import ConfigurationError

RESULT = {"id": "m1", "streams": 2, "online": 1}
LEDGER = {
    "id": "03D=",
    "ts": 5,
    "expires": 9,
    "to": {"user": "u"},
    "addressed": 7,
    "stored": 6,
    "written": 5,
    "acknowledged": 4,
    "expired": 3,
    "cancelled": 2,
    "dropped": {"too_large": 1, "full": 2},
}


STRANGE_ANSWERS = [b"[" * 100_000, b'{"id": "\\ud83d"}', b'{"id": "\xff"}', b"1e400", b"9" * 5000]


@pytest.fixture
def server() -> Iterator[HTTPServer]:
    with HTTPServer() as made:
        yield made


def blocking(url: str, use: Callable[[Any], Any], **options: Any) -> Any:
    with PushAPI(url, "k", **options) as api:
        return use(api)


def awaited(url: str, use: Callable[[Any], Any], **options: Any) -> Any:
    async def main() -> Any:
        async with AsyncPushAPI(url, "k", **options) as api:
            return await use(api)

    return asyncio.run(main())


Run = Callable[..., Any]
both = pytest.mark.parametrize("run", [blocking, awaited])

CALLS: list[tuple[str, Callable[[Any], Any], Answer, Any, str, str, Any]] = [
    (
        "push",
        lambda api: api.push(to={"token": "T"}, data={"a": 1}, ttl=60, qos=0, title="t", body="b"),
        Answer(202, {**RESULT, "new": 1}),
        PushResult("m1", 2, 1),
        "POST",
        "/v1/push",
        {"to": {"token": "T"}, "data": {"a": 1}, "ttl": 60, "qos": 0, "title": "t", "body": "b"},
    ),
    (
        "push, unknown tokens",
        lambda api: api.push(to={"tokens": ["T", "U"]}, data="eA==", encoding="base64"),
        Answer(202, {**RESULT, "unknown": ["U"]}),
        PushResult("m1", 2, 1, ["U"]),
        "POST",
        "/v1/push",
        {"to": {"tokens": ["T", "U"]}, "data": "eA==", "encoding": "base64"},
    ),
    (
        "push_batch",
        lambda api: api.push_batch([push_item(to={"all": True}, data=1, ttl=5)], make_keys=False),
        Answer(200, {"results": [{"status": 202, **RESULT}, {"status": 422, "code": "invalid"}]}),
        [BatchItem(202, "m1", 2, 1), BatchItem(422, code="invalid")],
        "POST",
        "/v1/push/batch",
        [{"to": {"all": True}, "data": 1, "ttl": 5}],
    ),
    (
        "push, collapsing",
        lambda api: api.push(to={"all": True}, data=1, collapse="score"),
        Answer(202, RESULT),
        PushResult("m1", 2, 1),
        "POST",
        "/v1/push",
        {"to": {"all": True}, "data": 1, "collapse": "score"},
    ),
    (
        "push_batch, with keys",
        lambda api: api.push_batch(
            [push_item(to={"user": "u"}, data=1, collapse="c", idempotency_key="k 1")]
        ),
        Answer(200, {"results": [{"status": 202, **RESULT}]}),
        [BatchItem(202, "m1", 2, 1)],
        "POST",
        "/v1/push/batch",
        [{"to": {"user": "u"}, "data": 1, "collapse": "c", "idempotency_key": "k 1"}],
    ),
    (
        "whoami",
        lambda api: api.whoami(),
        Answer(200, {"name": "billing", "scopes": ["push", "read"], "new": 1}),
        KeyOwner("billing", ["push", "read"]),
        "GET",
        "/v1/whoami",
        None,
    ),
    (
        "message",
        lambda api: api.message("03D="),
        Answer(200, {**LEDGER, "new": 1}),
        MessageLedger("03D=", 5, {"user": "u"}, 9, 7, 6, 5, 4, 3, 2, {"too_large": 1, "full": 2}),
        "GET",
        "/v1/messages/03D%3D",
        None,
    ),
    (
        "message_devices",
        lambda api: api.message_devices("m*1", cursor="c=1", limit=2),
        Answer(
            200,
            {
                "devices": [
                    {"token": "T", "state": "written", "ts": 5},
                    {"token": "U", "state": "dropped", "reason": "too_large", "ts": 6},
                ],
                "cursor": "c2",
            },
        ),
        DeliveryPage(
            [
                DeviceDelivery("T", "written", ts=5),
                DeviceDelivery("U", "dropped", "too_large", 6),
            ],
            "c2",
        ),
        "GET",
        "/v1/messages/m%2A1/devices?cursor=c%3D1&limit=2",
        None,
    ),
    (
        "message_devices, the last page",
        lambda api: api.message_devices("m1"),
        Answer(200, {"devices": [], "cursor": None}),
        DeliveryPage([]),
        "GET",
        "/v1/messages/m1/devices",
        None,
    ),
    (
        "cancel",
        lambda api: api.cancel("m1"),
        Answer(200, {"cancelled": 3}),
        3,
        "DELETE",
        "/v1/messages/m1",
        None,
    ),
    (
        "device",
        lambda api: api.device("T*="),
        Answer(200, {"token": "T*="}),
        {"token": "T*="},
        "GET",
        "/v1/devices/T%2A%3D",
        None,
    ),
    ("forget", lambda api: api.forget("T"), Answer(204), [], "DELETE", "/v1/devices/T", None),
    (
        "bind, and a node does not confirm",
        lambda api: api.bind("ada", "T"),
        Answer(200, {"silent": ["node2"]}),
        ["node2"],
        "PUT",
        "/v1/users/ada/devices/T",
        None,
    ),
    (
        "bind",
        lambda api: api.bind("ada@x", "T"),
        Answer(204),
        [],
        "PUT",
        "/v1/users/ada%40x/devices/T",
        None,
    ),
    (
        "unbind",
        lambda api: api.unbind("ada", "T"),
        Answer(204),
        [],
        "DELETE",
        "/v1/users/ada/devices/T",
        None,
    ),
    (
        "stats",
        lambda api: api.stats(),
        Answer(200, {"connections": 3}),
        {"connections": 3},
        "GET",
        "/v1/stats",
        None,
    ),
    (
        "servers",
        lambda api: api.servers("tls"),
        Answer(200, {"servers": ["tls://a:1"], "ttl": 60}),
        Servers(["tls://a:1"], 60),
        "GET",
        "/v1/servers?carrier=tls",
        None,
    ),
    (
        "register_device",
        lambda api: api.register_device("linux", "a", "d"),
        Answer(201, {"token": "T", "secret": "S", "servers": ["tls://a:1"]}),
        Registration("T", "S", ["tls://a:1"]),
        "POST",
        "/v1/devices",
        {"platform": "linux", "app": "a", "device": "d"},
    ),
]


@both
@pytest.mark.parametrize(
    ("use", "answer", "result", "method", "path", "body"),
    [call[1:] for call in CALLS],
    ids=[call[0] for call in CALLS],
)
def test_each_call_is_what_the_contract_says(
    server: HTTPServer,
    run: Run,
    use: Any,
    answer: Answer,
    result: Any,
    method: str,
    path: str,
    body: Any,
):
    server.answer(answer)
    assert run(server.url, use) == result
    [request] = server.requests
    assert (request.method, request.path, request.body) == (method, path, body)
    assert request.headers["authorization"] == "Bearer k"
    assert request.headers.get("content-type") == (None if body is None else "application/json")


@both
def test_a_batch_item_says_whether_it_went_well(server: HTTPServer, run: Run):
    server.answer(Answer(200, {"results": [{"status": 202}, {"status": 404}]}))
    items = run(server.url, lambda api: api.push_batch([{"to": {"all": True}, "data": 1}]))
    assert [item.ok for item in items] == [True, False]


@both
def test_a_problem_is_an_error_with_its_members(server: HTTPServer, run: Run):
    server.answer(problem(422, "invalid", field="ttl"))
    with pytest.raises(PushAPIError) as caught:
        run(server.url, lambda api: api.push(to={"all": True}, data=1, ttl=-1))
    error = caught.value
    assert (error.status, error.code, error.field, error.detail) == (
        422,
        "invalid",
        "ttl",
        "it is invalid",
    )
    assert error.retry_after is None


@both
@pytest.mark.parametrize("body", [None, b"<html>Bad gateway</html>", [1], {"code": 5}])
def test_an_error_of_something_in_between_is_an_error_too(server: HTTPServer, run: Run, body: Any):
    server.answer(Answer(502, body))
    with pytest.raises(PushAPIError) as caught:
        run(server.url, lambda api: api.stats(), retries=0)
    assert (caught.value.status, caught.value.code) == (502, "http_502")


@both
@pytest.mark.parametrize(
    "body",
    [
        None,
        b"hello",
        {"id": 5},
        {},
        b"[" * 100_000,
        b'{"id": "\\ud83d"}',
        b'{"id": "\xff"}',
        b"1e400",
    ],
)
def test_an_answer_that_is_not_what_was_expected_is_an_error(
    server: HTTPServer, run: Run, body: Any
):
    server.answer(Answer(202, body))
    with pytest.raises(PushAPIError) as caught:
        run(server.url, lambda api: api.push(to={"all": True}, data=1))
    assert caught.value.code == "malformed"


@both
@pytest.mark.parametrize("number", [b"1e400", b"9" * 5000])
def test_a_history_with_a_number_that_is_too_large_is_read_as_the_rest(
    server: HTTPServer, run: Run, number: bytes
):
    one = b'{"conversation": "group:g", "seq": 1, "from": "ada", "data": [%s]}' % number
    server.answer(Answer(200, b'{"messages": [%s], "more": false}' % one))
    [message] = run(server.url, lambda api: api.group_history("g")).messages
    assert message.data == [float("inf")]


@both
def test_a_call_that_may_be_sent_twice_is_retried(server: HTTPServer, run: Run):
    busy = problem(503, "unavailable")._replace(headers={"Retry-After": "0"})
    server.answer(busy, Answer(drop=True), Answer(200, {"a": 1}))
    assert run(server.url, lambda api: api.stats()) == {"a": 1}
    assert len(server.requests) == 3


@both
@pytest.mark.parametrize("status", [502, 503, 504])
def test_what_a_proxy_before_a_restarting_api_says_is_retried(
    server: HTTPServer, run: Run, status: int
):
    server.answer(Answer(status, b"<html>"), Answer(drop=True), Answer(202, RESULT))
    result = run(server.url, lambda api: api.push(to={"all": True}, data=1, idempotency_key="k"))
    assert result == PushResult("m1", 2, 1)
    assert [request.headers["idempotency-key"] for request in server.requests] == ["k"] * 3


PUSH_ONCE = [
    lambda api: api.push(to={"all": True}, data=1, make_key=False),
    lambda api: api.push(to={"all": True}, data=1),
]


@both
@pytest.mark.parametrize("use", PUSH_ONCE)
@pytest.mark.parametrize("after", ["0", "Thu, 01 Jan 1970 00:00:00 GMT", "\u00a00 "])
def test_what_was_refused_for_its_rate_did_not_run_and_is_sent_again(
    server: HTTPServer, run: Run, use: Any, after: str
):
    limited = problem(429, "rate_limited")._replace(headers={"Retry-After": after.strip("\u00a0")})
    server.answer(limited, Answer(202, RESULT))
    assert run(server.url, use) == PushResult("m1", 2, 1)
    assert len(server.requests) == 2


@both
@pytest.mark.parametrize("use", PUSH_ONCE)
@pytest.mark.parametrize("after", [None, "3600", "9" * 5000, "soon", "-1"])
def test_a_rate_limit_is_not_waited_for_that_takes_too_long_or_names_no_time(
    server: HTTPServer, run: Run, use: Any, after: str | None
):
    headers = {} if after is None else {"Retry-After": after}
    server.answer(problem(429, "rate_limited")._replace(headers=headers))
    with pytest.raises(PushAPIError) as caught:
        run(server.url, use)
    assert (caught.value.status, len(server.requests)) == (429, 1)
    assert caught.value.retry_after == {"3600": 3600, "9" * 5000: 999999999}.get(str(after))


@both
def test_without_a_key_a_connection_that_was_not_made_is_tried_again(run: Run):
    """Nothing was sent, so nothing can have run."""
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{listening.getsockname()[1]}"
        tries: list[float] = []
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(random, "random", lambda: tries.append(0.0) or 0.0)
            with pytest.raises(PushAPIUnreachable):
                run(url, lambda api: api.push(to={"all": True}, data=1, make_key=False))
    assert len(tries) == 2


@both
def test_retries_end(server: HTTPServer, run: Run):
    busy = problem(503, "unavailable")
    server.answer(*[busy] * 2)
    with pytest.raises(PushAPIError) as caught:
        run(server.url, lambda api: api.bind("u", "T"), retries=1)
    assert caught.value.status == 503
    assert len(server.requests) == 2


@both
@pytest.mark.parametrize("answer", [problem(503, "unavailable"), Answer(drop=True)])
@pytest.mark.parametrize(
    "use",
    [
        lambda api: api.push(to={"all": True}, data=1, make_key=False),
        lambda api: api.push_batch([push_item(to={"all": True}, data=1)], make_keys=False),
        lambda api: api.register_device("p", "a"),
    ],
)
def test_what_must_not_happen_twice_is_not_retried(
    server: HTTPServer, run: Run, answer: Answer, use: Any
):
    server.answer(answer)
    with pytest.raises((PushAPIError, PushAPIUnreachable)):
        run(server.url, use)
    assert len(server.requests) == 1
    assert "idempotency-key" not in server.requests[0].headers


BUSY = problem(503, "unavailable")
RUNNING = problem(409, "in_progress")


@both
def test_a_push_with_a_key_is_retried_with_the_same_key(server: HTTPServer, run: Run):
    server.answer(Answer(drop=True), BUSY, RUNNING, Answer(202, RESULT))
    result = run(
        server.url,
        lambda api: api.push(to={"all": True}, data=1, idempotency_key="order 17"),
        retries=3,
    )
    assert result == PushResult("m1", 2, 1)
    assert len(server.requests) == 4
    assert {request.headers["idempotency-key"] for request in server.requests} == {"order 17"}
    assert all("idempotency_key" not in request.body for request in server.requests)


@both
def test_each_push_makes_a_key_of_its_own_and_keeps_it_over_its_tries(server: HTTPServer, run: Run):
    server.answer(BUSY, Answer(202, RESULT), Answer(202, RESULT))
    for _ in range(2):
        run(server.url, lambda api: api.push(to={"all": True}, data=1))
    first, again, other = [request.headers["idempotency-key"] for request in server.requests]
    assert first == again != other
    assert len(first) >= 20


@both
def test_each_batch_makes_the_keys_that_are_missing(server: HTTPServer, run: Run):
    done = Answer(200, {"results": [{"status": 202, **RESULT}] * 3})
    server.answer(BUSY, done, done)
    items = [push_item(to={"all": True}, data=1)] * 2
    items += [push_item(to={"all": True}, data=1, idempotency_key="mine")]
    for _ in range(2):
        run(server.url, lambda api: api.push_batch(items))
    first, again, other = server.requests
    assert first.body == again.body
    keys = [item["idempotency_key"] for request in (first, other) for item in request.body]
    assert keys[2] == keys[5] == "mine"
    assert len(set(keys)) == 5
    assert "idempotency_key" not in items[0], "the caller's items stay as they are"


@both
@pytest.mark.parametrize(
    "answer", [problem(422, "idempotency_mismatch"), problem(409, "already_exists")]
)
def test_a_refusal_that_stays_is_not_retried(server: HTTPServer, run: Run, answer: Answer):
    server.answer(answer)
    with pytest.raises(PushAPIError):
        run(server.url, lambda api: api.push(to={"all": True}, data=1, idempotency_key="k"))
    assert len(server.requests) == 1


@both
def test_a_push_that_runs_on_is_in_progress_in_the_end(server: HTTPServer, run: Run):
    server.answer(RUNNING, RUNNING)
    with pytest.raises(PushAPIError) as caught:
        run(
            server.url,
            lambda api: api.push(to={"all": True}, data=1, idempotency_key="k"),
            retries=1,
        )
    assert (caught.value.status, caught.value.code) == (409, "in_progress")


@both
def test_a_batch_with_keys_is_retried_until_no_item_waits(server: HTTPServer, run: Run):
    """Items that were done answer as they did; only what waits changes."""
    good, bad = {"status": 202, **RESULT}, {"status": 404, "code": "unknown_token"}
    server.answer(
        Answer(drop=True),
        Answer(200, {"results": [good, {"status": 409, "code": "in_progress"}, bad]}),
        Answer(200, {"results": [good, {"status": 503, "code": "unavailable"}, bad]}),
        Answer(200, {"results": [good, good, bad]}),
    )
    items = [push_item(to={"token": "T"}, data=n, idempotency_key=f"k{n}") for n in range(3)]
    results = run(server.url, lambda api: api.push_batch(items), retries=5)
    assert [result.status for result in results] == [202, 202, 404]
    assert len(server.requests) == 4
    assert all(request.body == items for request in server.requests)


@both
def test_a_batch_with_an_item_that_waits_is_given_back_in_the_end(server: HTTPServer, run: Run):
    server.answer(*[Answer(200, {"results": [{"status": 409, "code": "in_progress"}]})] * 2)
    items = [push_item(to={"all": True}, data=1, idempotency_key="k")]
    [result] = run(server.url, lambda api: api.push_batch(items), retries=1)
    assert (result.ok, result.passing) == (False, True)
    assert len(server.requests) == 2


@both
@pytest.mark.parametrize("body", [b"hello", {"results": 5}])
def test_a_batch_answer_that_cannot_be_read_is_an_error(server: HTTPServer, run: Run, body: Any):
    server.answer(Answer(200, body))
    items = [push_item(to={"all": True}, data=1, idempotency_key="k")]
    with pytest.raises(PushAPIError) as caught:
        run(server.url, lambda api: api.push_batch(items))
    assert caught.value.code == "malformed"
    assert len(server.requests) == 1


@both
def test_a_batch_with_one_item_without_a_key_is_not_retried(server: HTTPServer, run: Run):
    server.answer(BUSY)
    items = [
        push_item(to={"all": True}, data=1, idempotency_key="k"),
        {"to": {"all": True}, "data": 1},
    ]
    with pytest.raises(PushAPIError):
        run(server.url, lambda api: api.push_batch(items, make_keys=False))
    assert len(server.requests) == 1
    assert server.requests[0].body == items


@pytest.mark.parametrize("key", ["", "x" * 256, "clé", "a\nb", " a", "a ", "\x7f"])
def test_a_key_that_cannot_be_sent_is_refused(key: str):
    with PushAPI("http://h") as api, pytest.raises(ConfigurationError, match="idempotency_key"):
        api.push(to={"all": True}, data=1, idempotency_key=key)
    with pytest.raises(ConfigurationError, match="idempotency_key"):
        push_item(to={"all": True}, data=1, idempotency_key=key)


PAGES = [
    Answer(200, {"devices": [{"token": t, "state": "stored"} for t in tokens], "cursor": cursor})
    for tokens, cursor in (("AB", "c1"), ("", "c2"), ("C", None))
]
TOKENS_OF_PAGES = [DeviceDelivery(token, "stored") for token in "ABC"]
PATHS_OF_PAGES = [
    "/v1/messages/m1/devices?limit=200",
    "/v1/messages/m1/devices?cursor=c1&limit=200",
    "/v1/messages/m1/devices?cursor=c2&limit=200",
]


def test_all_pages_of_devices_one_after_another(server: HTTPServer):
    server.answer(*PAGES)
    with PushAPI(server.url) as api:
        devices = api.each_message_device("m1")
        assert next(devices) == TOKENS_OF_PAGES[0]
        assert len(server.requests) == 1, "a page is asked for when it is needed"
        assert list(devices) == TOKENS_OF_PAGES[1:]
    assert [request.path for request in server.requests] == PATHS_OF_PAGES


def test_all_pages_of_devices_in_asyncio(server: HTTPServer):
    async def main() -> None:
        async with AsyncPushAPI(server.url) as api:
            devices = [device async for device in api.each_message_device("m1")]
            assert devices == TOKENS_OF_PAGES

    server.answer(*PAGES)
    asyncio.run(main())
    assert [request.path for request in server.requests] == PATHS_OF_PAGES


def test_the_dropped_are_counted_over_all_reasons():
    assert MessageLedger("m", 1, {}, dropped={"a": 1, "b": 2}).dropped_devices == 3
    assert MessageLedger("m", 1, {}).dropped_devices == 0


@both
def test_other_errors_are_not_retried(server: HTTPServer, run: Run):
    server.answer(problem(500, "internal"))
    with pytest.raises(PushAPIError):
        run(server.url, lambda api: api.stats())
    assert len(server.requests) == 1


@both
def test_nobody_there_is_unreachable(run: Run):
    with HTTPServer() as server:
        url = server.url
    with pytest.raises(PushAPIUnreachable, match=r"Connection refused|attempts failed"):
        run(url, lambda api: api.stats(), retries=0)


def test_the_connection_is_kept(server: HTTPServer):
    server.answer(*[Answer(200, {})] * 3)
    with PushAPI(server.url) as api:
        for _ in range(3):
            api.stats()
    assert len(server.connections) == 1
    assert "authorization" not in server.requests[0].headers


UNUSABLE = [
    "http://a:99999",
    "http://a:0",
    "http://..",
    "http://a..b",
    "http://a b",
    "http://a%20b",
    "http://*",
    "http://" + "a" * 64,
    "http://" + "a." * 130,
    "http://[::1",
]


@pytest.mark.parametrize("url", ["", "host:1", "tls://h", "http://", "http://h:x", *UNUSABLE])
def test_a_wrong_url_is_named(url: str):
    with pytest.raises(ConfigurationError, match="url"):
        PushAPI(url)
    with pytest.raises(ConfigurationError, match="url"):
        PushClient(servers_url=url, key="k")


@pytest.mark.parametrize("url", [url for url in UNUSABLE if url != "http://[::1"])
def test_a_server_that_cannot_be_connected_to_is_named(url: str):
    with pytest.raises(ConfigurationError, match="server"):
        PushClient([url.replace("http://", "tls://")], key="k")


@pytest.mark.parametrize(
    "url",
    [
        "http://h",
        "http://h:65535",
        "http://[::1]:1",
        "http://127.0.0.1",
        "http://münchen.example",
        "https://a_b-c.d.:80/",
    ],
)
def test_a_url_that_may_work_is_taken(url: str):
    PushAPI(url).close()


def test_a_key_that_no_header_can_carry_is_refused():
    with pytest.raises(ConfigurationError, match="key"):
        PushAPI("http://h", "clé")


def test_https_is_verified(tmp_path: Path):
    certificate = make_certificate(tmp_path)
    with HTTPServer() as server:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate.file, certificate.key_file)
        server._server.socket = context.wrap_socket(server._server.socket, server_side=True)
        url = server.url.replace("http:", "https:")
        with PushAPI(url, retries=0) as api, pytest.raises(PushAPIUnreachable, match="CERT"):
            api.stats()
        server.answer(Answer(200, {"a": 1}))
        with PushAPI(url, ca_file=str(certificate.file)) as api:
            assert api.stats() == {"a": 1}


def test_a_list_that_names_no_server_for_this_client_is_told_in_the_state(server: HTTPServer):
    async def main() -> None:
        client = PushClient(servers_url=server.url, key="k", random=lambda: 0.001)
        async with client:
            expected = "names none that this client may use: ['ws://x/ws']"
            await until(lambda: expected in client.state_detail)

    server.answer(*[Answer(200, {"servers": ["ws://x/ws"], "ttl": 9})] * 999)
    asyncio.run(main())


def test_a_device_client_asks_for_servers(server: HTTPServer):
    """`servers_url` without servers: GET /v1/servers with the key, again when it fails."""

    async def main() -> None:
        client = PushClient(servers_url=server.url + "/", key="k", random=lambda: 0.0)
        async with client:
            await until(lambda: client.state_detail.startswith("tcp://127.0.0.1:1"))

    server.answer(problem(503, "unavailable"), Answer(200, {"servers": []}))
    server.answer(*[Answer(200, {"servers": ["ws://x/ws", "tcp://127.0.0.1:1"], "ttl": 9})] * 99)
    asyncio.run(main())
    assert server.requests[0].path == "/v1/servers"
    assert server.requests[0].headers["authorization"] == "Bearer k"
    assert len(server.requests) >= 3
