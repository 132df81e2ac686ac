"""The HTTP client's calls about sessions, users and nodes, blocking and asyncio alike."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from http_server import Answer, HTTPServer

from push.sdk.backend import AsyncPushAPI, PushAPI, PushAPIError

SESSION = {
    "session": "s1",
    "token": "t",
    "user": None,
    "node": "n1",
    "ip": "192.0.2.1",
    "carrier": "tls",
    "connected": 5,
}


@pytest.fixture
def server() -> Iterator[HTTPServer]:
    with HTTPServer() as made:
        yield made


def blocking(url: str, use: Callable[[Any], Any]) -> Any:
    with PushAPI(url, "k", retries=0) as api:
        return use(api)


def awaited(url: str, use: Callable[[Any], Any]) -> Any:
    async def main() -> Any:
        async with AsyncPushAPI(url, "k", retries=0) as api:
            return await use(api)

    return asyncio.run(main())


BOTH = pytest.mark.parametrize("run", [blocking, awaited])


@BOTH
@pytest.mark.parametrize(
    ("use", "asked"),
    [
        (lambda api: api.kick_session("a=b"), ("DELETE", "/v1/connections/a%3Db", None)),
        (lambda api: api.kick_device("T="), ("POST", "/v1/devices/T%3D/kick", None)),
        (lambda api: api.kick_user("anna"), ("POST", "/v1/users/anna/kick", None)),
        (
            lambda api: api.kick_ip("10.0.0.0/8"),
            ("POST", "/v1/connections/kick", {"ip": "10.0.0.0/8"}),
        ),
    ],
)
def test_a_kick_says_how_many_and_who_did_not_answer(
    server: HTTPServer, run: Any, use: Any, asked: Any
) -> None:
    server.answer(Answer(200, {"kicked": 3, "silent": ["n2"]}))
    kicked = run(server.url, use)
    assert (kicked.kicked, kicked.silent) == (3, ["n2"])
    (request,) = server.requests
    assert (request.method, request.path, request.body) == asked


@BOTH
def test_filters_of_connections_are_parameters(server: HTTPServer, run: Any) -> None:
    server.answer(Answer(200, {"connections": [SESSION], "cursor": "s1", "silent": []}))
    page = run(server.url, lambda api: api.connections(ip="10.0.0.0/8", user="anna", limit=1))
    assert (page.connections[0].ip, page.connections[0].user, page.cursor) == (
        "192.0.2.1",
        None,
        "s1",
    )
    (request,) = server.requests
    assert request.path == "/v1/connections?user=anna&ip=10.0.0.0%2F8&limit=1"


def test_each_connection_goes_through_all_pages(server: HTTPServer) -> None:
    pages = [
        Answer(200, {"connections": [SESSION], "cursor": "s1", "silent": []}),
        Answer(200, {"connections": [{**SESSION, "session": "s2"}], "cursor": None, "silent": []}),
    ]
    server.answer(*pages, *pages)
    with PushAPI(server.url, "k") as api:
        assert [one.session for one in api.each_connection(node="n1")] == ["s1", "s2"]

    async def main() -> list[str]:
        async with AsyncPushAPI(server.url, "k") as api:
            return [one.session async for one in api.each_connection(node="n1")]

    assert asyncio.run(main()) == ["s1", "s2"]
    assert "cursor=s1" in server.requests[1].path
    assert "node=n1" in server.requests[3].path


@BOTH
def test_a_user_is_looked_up_and_erased(server: HTTPServer, run: Any) -> None:
    shown = {"user": "anna", "online": True, "devices": [], "silent": []}
    server.answer(Answer(200, shown), Answer(204), Answer(404, {"code": "not_found"}))
    assert run(server.url, lambda api: api.user("anna")) == shown
    assert run(server.url, lambda api: api.erase_user("anna")) == []
    with pytest.raises(PushAPIError, match="not_found"):
        run(server.url, lambda api: api.erase_user("anna"))
    assert [r.method for r in server.requests] == ["GET", "DELETE", "DELETE"]


@BOTH
def test_nodes_are_a_list_and_one_is_drained(server: HTTPServer, run: Any) -> None:
    server.answer(Answer(200, {"nodes": [{"instance": "n1"}]}), Answer(202, {"node": "n1"}))
    assert run(server.url, lambda api: api.nodes()) == [{"instance": "n1"}]
    assert run(server.url, lambda api: api.drain("n1", rate=5)) is None
    assert server.requests[1].body == {"rate": 5}
