"""What stands in a path names what it seems to name, or is refused before anything happens."""

from __future__ import annotations

from typing import Any

import pytest

from push.http.framework.parameters import KINDS
from push.wire.idents import NAME_PATTERN
from tests.http.conftest import FUNNEL, TOKEN
from tests.http.segments import nasty_paths

GOOD = {
    "token": TOKEN,
    "user": "anna",
    "topic": "news",
    "id": FUNNEL.id,
    "session": "0123456789abcdef01234567",
    "code": "invalid",
    "webhook": "wh-1",
}


def operations(web: Any) -> list[tuple[str, str, Any]]:
    document = web.request("GET", "/openapi.json").json()
    return [
        (path, method.upper(), operation)
        for path, methods in document["paths"].items()
        for method, operation in methods.items()
        if "{" in path
    ]


def test_every_route_refuses_every_nasty_segment(web: Any) -> None:
    found = operations(web)
    assert len(found) >= 15
    tried = 0
    for template, method, operation in found:
        content = operation.get("requestBody", {}).get("content", {}).get("application/json", {})
        for path, code in nasty_paths(template, GOOD):
            response = web.request(method, path, content.get("example"))
            if code:
                problem = response.json()
                assert problem["code"] == code, (method, path, problem)
                assert len(response.content) < 600
            else:
                assert response.status in (404, 405), (method, path)
            tried += 1
    assert tried > 500
    assert web.behind.calls == 0


def test_good_segments_reach_their_route(web: Any) -> None:
    """The same paths with names of every allowed character, encoded as a library does."""
    name = "A-z0_9.@:+="
    for encoded in (name, "A-z0_9.%40%3A%2B%3D", "%41-z0_9.@:+="):
        response = web.request("GET", f"/v1/users/{encoded}")
        assert (response.status, response.json()["user"]) == (200, name)
    assert web.request("GET", "/v1/users/...").status == 200
    assert web.request("GET", "/v1/users/" + "a" * 128).status == 200


def test_the_document_has_the_pattern_of_every_parameter(web: Any) -> None:
    for path, method, operation in operations(web):
        for parameter in operation["parameters"]:
            if parameter["in"] == "path":
                pattern = KINDS[parameter["name"]].pattern
                assert parameter["schema"]["pattern"] == pattern, (path, method)
    (listing,) = [
        methods["get"]
        for path, methods in web.request("GET", "/openapi.json").json()["paths"].items()
        if path == "/v1/connections"
    ]
    patterns = {each["name"]: each["schema"].get("pattern") for each in listing["parameters"]}
    assert [patterns[name] for name in ("node", "user", "topic")] == [NAME_PATTERN] * 3
    schemas = web.request("GET", "/openapi.json").json()["components"]["schemas"]
    for field in ("user", "topic", "group"):
        (branch,) = [
            b for b in _branches(schemas["PushTargetBody"]["properties"][field]) if "pattern" in b
        ]
        assert branch["pattern"] == NAME_PATTERN


def _branches(schema: dict[str, Any]) -> list[dict[str, Any]]:
    return [schema, *schema.get("anyOf", [])]


@pytest.mark.parametrize("name", [".", "..", "a/b", "", "a" * 129, "a\n"])
def test_no_body_and_no_query_takes_what_is_no_id(web: Any, name: str) -> None:
    for field in ("user", "topic", "group"):
        web.push({"to": {field: name}, "data": 1}).assert_problem("invalid", f"to.{field}")
    web.push({"to": {"users": ["a", name]}, "data": 1}).assert_problem("invalid", "to.users[1]")
    body = {"to": {"user": "a"}, "data": 1, "collapse": name}
    web.push(body).assert_problem("invalid", "collapse")
    web.request("POST", "/v1/bans", {"user": name}).assert_problem("invalid", "user")
    encoded = name.replace("\n", "%0A")
    for field in ("user", "topic", "node"):
        web.request("GET", f"/v1/connections?{field}={encoded}").assert_problem("invalid", field)
    assert web.behind.calls == 0


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/v1/push", {"to": {"all": True}, "data": 1, "Z" * 500_000: 1}),
        ("/v1/push", {"to": {"all": True, "Z" * 500_000: 1}, "data": 1}),
        ("/v1/push", {"to": {"user": "Z" * 500_000}, "data": 1}),
        ("/v1/push", {"to": {"ip": "Z" * 60}, "data": 1}),
        ("/v1/push", {"to": {"all": True}, "data": 1, "collapse": "Z" * 500_000}),
        ("/v1/push", b"Z" * 500_000),
        ("/v1/devices", {"platform": "Z" * 500_000, "app": "a"}),
        ("/v1/" + "Z" * 5_000, None),
        ("/v1/push?" + "Z" * 5_000 + "=1", {"to": {"all": True}, "data": 1}),
        ("/v1/users/" + "Z" * 5_000 + "/kick", None),
        ("/v1/bans", {"ip": "Z" * 64}),
    ],
)
def test_no_refusal_sends_back_what_it_refuses(web: Any, path: str, body: Any) -> None:
    response = web.request("POST", path, body)
    assert response.status >= 400
    assert response.content.count(b"Z") <= 200
    assert len(response.content) < 800


def test_no_header_is_sent_back(web: Any) -> None:
    long = "Z" * 8_000
    for headers in ({"Content-Type": long}, {"Idempotency-Key": long}, {"Authorization": long}):
        response = web.push({"to": {"all": True}, "data": 1}, headers=headers)
        assert response.status >= 400
        assert response.content.count(b"Z") <= 200
