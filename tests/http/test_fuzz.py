"""Whatever comes in, only documented answers go out, and nothing is logged as an error."""

from __future__ import annotations

import json
from typing import Any

import msgspec
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from push.http.framework.problems import Problem
from tests.amounts import amount

FEW = settings(
    max_examples=amount(60, 500),
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)

KNOWN = (
    *("to", "data", "ttl", "qos", "title", "body", "encoding", "collapse"),
    *("all", "token", "tokens", "user", "users", "topic"),
    *("platform", "app", "device", "secret"),
)
names = st.sampled_from(KNOWN) | st.text(max_size=5)
values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=10)
    | st.sampled_from(["base64", "aGk=", "anna", 0, 1, True]),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(names, inner, max_size=5),
    max_leaves=12,
)
targets = st.dictionaries(
    st.sampled_from(["all", "token", "tokens", "user", "users", "topic"]), values, max_size=2
) | st.just({"all": True})
pushes = st.fixed_dictionaries(
    {"to": targets, "data": values},
    optional={
        "ttl": values,
        "qos": values,
        "title": values,
        "body": values,
        "encoding": st.just("base64") | values,
    },
)
paths = st.sampled_from(["/v1/push", "/v1/push/batch", "/v1/devices"])


def assert_documented(web: Any, path: str, response: Any) -> None:
    operation = web.documented[path]["post"]["responses"]
    assert str(response.status) in operation, response.content
    assert response.status != 500
    if response.status >= 400:
        problem = msgspec.json.decode(response.content, type=Problem)
        response.assert_problem(
            problem.code, None if problem.field is msgspec.UNSET else problem.field
        )
        assert f"`{problem.code}`" in operation[str(response.status)]["description"]


def prepare(web: Any) -> None:
    if not hasattr(web, "documented"):
        web.documented = web.request("GET", "/openapi.json").json()["paths"]


@FEW
@given(path=paths, body=values | pushes | st.lists(pushes | values, max_size=4))
def test_any_json(web: Any, path: str, body: Any) -> None:
    prepare(web)
    assert_documented(web, path, web.request("POST", path, json.dumps(body).encode()))


@FEW
@given(path=paths, body=st.binary(max_size=60))
def test_any_bytes(web: Any, path: str, body: bytes) -> None:
    prepare(web)
    assert_documented(web, path, web.request("POST", path, body))


@FEW
@given(path=paths, body=pushes, data=st.data())
def test_json_with_some_bytes_changed(web: Any, path: str, body: Any, data: Any) -> None:
    prepare(web)
    raw = bytearray(json.dumps(body).encode())
    for _ in range(data.draw(st.integers(1, 3))):
        raw[data.draw(st.integers(0, len(raw) - 1))] = data.draw(st.integers(0, 255))
    assert_documented(web, path, web.request("POST", path, bytes(raw)))


@FEW
@given(target=st.text(st.characters(min_codepoint=33, max_codepoint=126), max_size=40))
def test_any_path(web: Any, target: str) -> None:
    response = web.request("GET", "/" + target, ip="127.0.0.1")
    assert response.status in (200, 400, 404, 405, 422)


@FEW
@given(request=st.binary(max_size=200), cut=st.integers(0, 200))
def test_any_bytes_as_a_request(web: Any, request: bytes, cut: int) -> None:
    connection = web.connect()
    connection.send(request[:cut])
    connection.send(request[cut:] + b"\r\n\r\n")
    for response in connection.responses():
        assert response.status in (200, 400, 404)
    connection.close()
