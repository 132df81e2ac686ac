"""The OpenAPI 3.1 document, made from the routes and from the very structs that validate."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Any

import msgspec
from msgspec import UNSET, inspect

from push.http.framework.parameters import KINDS
from push.http.framework.route import App, DocumentedResponse, Endpoint, Kind
from push.wire.api.common import MAX_IDEMPOTENCY_KEY
from push.wire.errors import STATUS_OF_CODE, Problem

_PARAMETER = re.compile(r"{(\w+)}")
_REFERENCE = "#/components/schemas/{name}"
_BODY_PROBLEMS = ("malformed", "too_large", "unsupported_media_type", "invalid", "unavailable")
_PROBLEM_CONTENT = {
    "application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}
}
_ONCE = {
    "name": "Idempotency-Key",
    "in": "header",
    "required": False,
    "description": (
        "A name for this request, of your choice. Within 24 hours the same key with the same "
        "request gets the same answer and does nothing more, so that it may be sent again."
    ),
    "schema": {"type": "string", "minLength": 1, "maxLength": MAX_IDEMPOTENCY_KEY},
}
_HEADER_OF_STATUS: dict[int, dict[str, Any]] = {
    401: {"WWW-Authenticate": {"schema": {"type": "string"}}},
    429: {
        "Retry-After": {"schema": {"type": "integer"}, "description": "seconds"},
        "RateLimit-Policy": {"schema": {"type": "string"}, "description": "the limit"},
        "RateLimit": {"schema": {"type": "string"}, "description": "what is left of it"},
    },
    503: {"Retry-After": {"schema": {"type": "integer"}, "description": "seconds"}},
}


def openapi_document(title: str, version: str, apps: Sequence[App]) -> dict[str, Any]:
    """The document for a port that serves `apps`."""
    routes = [route for app in apps for route in app.routes]
    kinds = list(_kinds(routes))
    schemas, components = msgspec.json.schema_components(kinds, ref_template=_REFERENCE)
    schema_of = dict(zip(map(repr, kinds), schemas, strict=True))
    for struct in {each for info in inspect.multi_type_info(kinds) for each in _structs_in(info)}:
        _require_written(struct, components)
    for app in apps:
        app.adjust(components)
    paths: dict[str, dict[str, Any]] = {}
    for app in apps:
        for route in app.routes:
            operation = _operation(route, app.name, schema_of)
            paths.setdefault(route.path, {})[route.method.lower()] = operation
        for path, (operation, codes) in app.beside.items():
            answers = {**operation["responses"], **_problems(codes)}
            paths[path] = {"get": {**operation, "tags": [app.name], "responses": answers}}
    return {
        "openapi": "3.1.0",
        "info": {
            "title": title,
            "version": version,
            "description": "Problems are RFC 9457; their `code` is explained at `/errors/<code>`.",
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "servers": [{"url": "/"}],
        "tags": [{"name": app.name, "description": app.description} for app in apps],
        "paths": paths,
        "components": {
            "schemas": components,
            "securitySchemes": {
                "key": {
                    "type": "http",
                    "scheme": "bearer",
                    "description": "An API key with the scope that the operation names.",
                }
            },
        },
    }


def _kinds(routes: Iterable[Endpoint]) -> Iterable[Kind]:
    """Every type that the document describes, each once."""
    found: dict[str, Kind] = {repr(Problem): Problem}
    for route in routes:
        if route.body is not None:
            found[repr(route.body.kind)] = route.body.kind
        for reply in route.replies.values():
            for kind in (reply.kind, *reply.also):
                if kind is not None:
                    found[repr(kind)] = kind
    return found.values()


def _structs_in(info: inspect.Type) -> Iterable[type[msgspec.Struct]]:
    """The structs that a type contains."""
    parts: Iterable[inspect.Type] = ()
    if isinstance(info, inspect.StructType):
        yield info.cls
        parts = [field.type for field in info.fields]
    elif isinstance(info, inspect.Metadata):
        parts = (info.type,)
    elif isinstance(info, inspect.ListType):
        parts = (info.item_type,)
    elif isinstance(info, inspect.UnionType):
        parts = info.types
    for part in parts:
        yield from _structs_in(part)


def _require_written(kind: type[msgspec.Struct], components: dict[str, Any]) -> None:
    """Fields of an answer that are always written are required, also if a reader has a default,
    which says nothing about them then.

    A list with a default may be left out (`push.wire.api.common.ABSENT`).
    """
    if kind.__struct_config__.forbid_unknown_fields:
        return
    omits = kind.__struct_config__.omit_defaults
    component = components[kind.__name__]
    component["required"] = [
        field.encode_name
        for field in msgspec.structs.fields(kind)
        if field.default_factory is not list
        and field.default is not UNSET
        and (field.default is msgspec.NODEFAULT or not omits)
    ]
    for name in component["required"]:
        component["properties"][name].pop("default", None)


def problem_codes(route: Endpoint) -> list[str]:
    """Every code that the route can answer: its own, and those that follow from what it has."""
    codes = [*route.problems, "invalid", "internal"]  # an unknown query parameter is invalid
    if route.needs_key:
        codes += ["unauthenticated", "rate_limited"]
    if route.scope is not None:
        codes.append("forbidden")
    if route.body is not None:
        codes += _BODY_PROBLEMS
    if route.idempotent:
        codes += ["in_progress", "idempotency_mismatch"]
    return sorted(set(codes), key=lambda code: (STATUS_OF_CODE[code], code))


def _operation(route: Endpoint, tag: str, schema_of: dict[str, Any]) -> dict[str, Any]:
    operation: dict[str, Any] = {
        "operationId": route.name,
        "tags": [tag],
        "summary": route.summary,
    }
    if route.description:
        operation["description"] = route.description
    scopes = [] if route.scope is None else [route.scope]
    operation["security"] = [{"key": scopes}] if route.needs_key else []
    parameters = [_path_parameter(name, route) for name in _PARAMETER.findall(route.path)]
    parameters += _query_parameters(route.query)
    if route.idempotent:
        parameters.append(_ONCE)
    if parameters:
        operation["parameters"] = parameters
    if route.body is not None:
        content = {"schema": schema_of[repr(route.body.kind)], "example": route.body.example}
        required = not route.body.optional
        operation["requestBody"] = {"required": required, "content": {"application/json": content}}
    operation["responses"] = {
        **{str(status): _reply(reply, schema_of) for status, reply in route.replies.items()},
        **_problems(problem_codes(route)),
    }
    return operation


def _path_parameter(name: str, route: Endpoint) -> dict[str, Any]:
    return {
        "name": name,
        "in": "path",
        "required": True,
        "description": route.path_texts.get(name, KINDS[name].text),
        "schema": {"type": "string", "pattern": KINDS[name].pattern},
    }


def _query_parameters(kind: type[msgspec.Struct]) -> list[dict[str, Any]]:
    """A parameter for each field of the struct that reads the query."""
    (schema,) = msgspec.json.schema(kind)["$defs"].values()
    return [_query_parameter(name, part, schema) for name, part in schema["properties"].items()]


def _query_parameter(name: str, part: dict[str, Any], schema: dict[str, Any]) -> dict[str, Any]:
    if part.get("default") == "":  # the same as no parameter
        del part["default"]
    return {
        "name": name,
        "in": "query",
        "required": name in schema.get("required", ()),
        "description": part.pop("description"),
        "schema": part,
    }


def _reply(reply: DocumentedResponse, schema_of: dict[str, Any]) -> dict[str, Any]:
    answer: dict[str, Any] = {"description": reply.description}
    if reply.kind is not None:
        answer["content"] = {reply.content_type: {"schema": schema_of[repr(reply.kind)]}}
    elif reply.content_type != "application/json":
        answer["content"] = {reply.content_type: {"schema": {"type": "string"}}}
    return answer


def _problems(codes: Iterable[str]) -> dict[str, Any]:
    answers: dict[str, Any] = {}
    for code in codes:
        status = STATUS_OF_CODE[code]
        answer = answers.setdefault(str(status), {"description": "", "content": _PROBLEM_CONTENT})
        answer["description"] = ", ".join(filter(None, (answer["description"], f"`{code}`")))
        if status in _HEADER_OF_STATUS:
            answer["headers"] = _HEADER_OF_STATUS[status]
    return answers
