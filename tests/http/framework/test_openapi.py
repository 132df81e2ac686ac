"""The OpenAPI document: sound in itself, and true about what is served."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import pytest

from push.http.checks import PushLimits
from push.wire.errors import STATUS_OF_CODE
from push.wire.event_stream.answers import TITLES
from push.wire.idents import NAME_PATTERN, encode_crockford

TOKEN = encode_crockford(123456789012345678)
MESSAGE = encode_crockford(123456789012345679)
METHODS = {"get", "put", "post", "delete", "patch"}


def document_of(web: Any) -> dict[str, Any]:
    response = web.request("GET", "/openapi.json", key=None)
    assert response.headers["content-type"] == "application/json"
    document: dict[str, Any] = response.json()
    return document


def operations(document: dict[str, Any]) -> Iterator[tuple[str, str, dict[str, Any]]]:
    for path, item in document["paths"].items():
        for method, operation in item.items():
            assert method in METHODS
            yield path, method.upper(), operation


def references(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        if "$ref" in value:
            yield value["$ref"]
        for inner in value.values():
            yield from references(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from references(inner)


@pytest.mark.parametrize("apps", [("api", "sub"), ("api",), ("sub",)])
def test_the_document_is_sound(make_web: Any, apps: tuple[str, ...]) -> None:
    document = document_of(make_web(*apps))
    assert document["openapi"] == "3.1.0"
    assert document["info"]["title"]
    assert document["info"]["version"]
    tags = {tag["name"] for tag in document["tags"]}
    names = [operation["operationId"] for _, _, operation in operations(document)]
    assert len(set(names)) == len(names)
    for path, _, operation in operations(document):
        assert set(operation["tags"]) <= tags
        declared = {p["name"] for p in operation.get("parameters", ()) if p["in"] == "path"}
        assert declared == set(re.findall(r"{(\w+)}", path))
        assert all(p["description"] for p in operation.get("parameters", ()))
        assert any(status < "400" for status in operation["responses"])
        assert all(answer["description"] for answer in operation["responses"].values())
        assert all(set(way) == {"key"} for way in operation["security"])


def test_the_stream_of_events_is_documented_where_it_is_served(make_web: Any) -> None:
    assert "/v1/stream" not in document_of(make_web())["paths"]

    document = document_of(make_web(take_stream=lambda transport, head, ip: None))

    operation = document["paths"]["/v1/stream"]["get"]
    assert operation["tags"][0] in {tag["name"] for tag in document["tags"]}
    assert "text/event-stream" in operation["responses"]["200"]["content"]
    statuses = {str(STATUS_OF_CODE[code]) for code in TITLES} | {"200", "307"}
    assert set(operation["responses"]) == statuses
    assert "Retry-After" in operation["responses"]["503"]["headers"]
    names = {parameter["name"] for parameter in operation["parameters"]}
    assert names == {"ack", "Push-Token", "Push-Secret", "Last-Event-ID"}


def test_every_reference_leads_somewhere(web: Any) -> None:
    document = document_of(web)
    found = set(references(document))
    assert found == {f"#/components/schemas/{name}" for name in document["components"]["schemas"]}


@pytest.mark.parametrize("apps", [("api", "sub"), ("api",), ("sub",)])
def test_every_route_answers_as_documented(make_web: Any, apps: tuple[str, ...]) -> None:
    """With a key, the example as body and a known device, each gives a documented success."""
    web = make_web(*apps)
    for path, method, operation in operations(document_of(web)):
        web.behind.devices = {TOKEN: "anna"}
        web.behind.messages = {MESSAGE: web.behind.funnel}
        url = (
            path.replace("{webhook}", "wh-1")
            .replace("{token}", TOKEN)
            .replace("{user}", "anna")
            .replace("{code}", "invalid")
        )
        url = url.replace("{id}", MESSAGE).replace("{session}", "s1").replace("{topic}", "news")
        url = url.replace("{key}", "billing")
        url = url.replace("{folder}/{file}", "vendor/preact.js").replace("{file}", "main.js")
        content = operation.get("requestBody", {}).get("content", {}).get("application/json", {})
        response = web.request(method, url, content.get("example"))
        answer = operation["responses"].get(str(response.status))
        assert answer is not None, f"{method} {path}: {response.status}"
        assert response.status < 300, response.content
        if response.status == 204:
            assert "content" not in answer
        else:
            media = response.headers["content-type"].partition(";")[0]
            assert {media, "*/*"} & set(answer["content"])


def test_what_needs_a_key_says_so(web: Any) -> None:
    for path, method, operation in operations(document_of(web)):
        url = path.replace("{token}", TOKEN).replace("{user}", "u").replace("{code}", "invalid")
        status = web.request(method, url, key=None).status
        assert (status == 401) == bool(operation["security"]), f"{method} {path}"
        assert ("401" in operation["responses"]) == bool(operation["security"])


def test_with_open_registration_no_key_is_asked_for(make_web: Any) -> None:
    document = document_of(make_web("sub", open_registration=True))
    assert document["paths"]["/v1/devices"]["post"]["security"] == []


def test_a_banned_address_may_not_register_without_a_key_either(make_web: Any) -> None:
    registering = document_of(make_web("sub", open_registration=True))["paths"]["/v1/devices"][
        "post"
    ]
    assert "banned" in registering["responses"]["403"]["description"]


def test_what_is_not_built_yet_is_absent(web: Any) -> None:
    document = document_of(web)
    schemas = document["components"]["schemas"]
    targets = {"token", "tokens", "user", "users", "topic", "group", "ip", "all"}
    assert set(schemas["PushTargetBody"]["properties"]) == targets
    assert schemas["PushTargetBody"]["additionalProperties"] is False
    assert (
        schemas["PushTargetBody"]["minProperties"],
        schemas["PushTargetBody"]["maxProperties"],
    ) == (1, 1)
    push = {"to", "data", "title", "body", "encoding", "ttl", "qos", "collapse"}
    assert set(schemas["PushBody"]["properties"]) == push
    assert set(schemas["BatchPushBody"]["properties"]) == {*push, "idempotency_key"}


def test_limits_that_are_settings_are_told(make_web: Any) -> None:
    web = make_web(limits=PushLimits(ttl_default_seconds=7, ttl_max_seconds=60))
    ttl = document_of(web)["components"]["schemas"]["PushBody"]["properties"]["ttl"]
    assert (ttl["minimum"], ttl["maximum"], ttl["default"]) == (0, 60, 7)


def test_documented_codes_are_those_of_the_contract(web: Any) -> None:
    for path, method, operation in operations(document_of(web)):
        for status, answer in operation["responses"].items():
            if status >= "400":
                codes = re.findall(r"`(\w+)`", answer["description"])
                assert codes, f"{method} {path} {status}"
                assert {STATUS_OF_CODE[code] for code in codes} == {int(status)}


def test_query_parameters_have_their_types_and_limits(web: Any) -> None:
    paths = document_of(web)["paths"]

    def schemas(path: str, method: str = "get") -> dict[str, Any]:
        return {
            each["name"]: each["schema"]
            for each in paths[path][method]["parameters"]
            if each["in"] == "query"
        }

    listing = schemas("/v1/connections")
    assert listing["limit"] == {"type": "integer", "minimum": 1, "maximum": 200, "default": 50}
    assert listing["cursor"] == {"type": "string", "maxLength": 256}
    assert listing["user"] == {"type": "string", "pattern": NAME_PATTERN}
    assert schemas("/v1/servers")["carrier"]["enum"] == ["tcp", "tls", "ws", "wss"]


def test_what_an_answer_always_has_is_required(web: Any) -> None:
    schemas = document_of(web)["components"]["schemas"]
    assert set(schemas["MessageLedger"]["required"]) == set(schemas["MessageLedger"]["properties"])
    assert schemas["BanMade"]["required"] == ["until"]
    assert schemas["ConnectionPage"]["required"] == ["connections", "cursor", "silent"]
    assert set(schemas["PushResult"]["required"]) == {"id", "streams", "online"}
