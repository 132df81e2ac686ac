"""What an app is made of: routes as data.

One table of routes drives three things, so that they cannot differ: what Klein answers, what is
checked before a handler runs, and what the OpenAPI document says.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import msgspec

JSON_TYPE = b"application/json"
HTML_TYPE = b"text/html; charset=utf-8"
MAX_BODY_BYTES = 1024 * 1024

_encoder = msgspec.json.Encoder()


class Request(NamedTuple):
    """A request that was let in: all that a handler knows of it.

    `path` holds the parameters by name, `query` and `body` the checked structs of the route.
    `client_ip` is the address of the client, also behind trusted proxies, "" when it has none (a
    unix socket). `scope` names API key, method and path, within which an idempotency key is unique;
    `once` is the request's own, with that scope. `if_none_match` is that header of a route that is
    `cached`.
    """

    path: Mapping[str, str]
    query: Any
    body: Any
    client_ip: str
    scope: str = ""
    once: str | None = None
    if_none_match: bytes | None = None


class Response(NamedTuple):
    """What is sent back: 204 and 304 have neither body nor content type."""

    status: int
    body: bytes = b""
    content_type: bytes = JSON_TYPE
    headers: tuple[tuple[bytes, bytes], ...] = ()


def json_answer(status: int, value: Any, *headers: tuple[bytes, bytes]) -> Response:
    """`value` (a struct, or what msgspec can encode) as JSON."""
    return Response(status, _encoder.encode(value), JSON_TYPE, headers)


NO_CONTENT = Response(204)

Handler = Callable[[Request], Awaitable[Response]]


class NoQuery(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """The query of a request that takes no parameters."""


@dataclass(frozen=True)
class Body:
    """A JSON body. `decode` makes of its bytes what the handler gets; `kind` is for the document.

    `example` is shown in the documentation, and a test sends it. `optional`: without one the
    handler gets None.
    """

    kind: Any
    decode: Callable[[bytes], Any]
    example: Any
    max_bytes: int = MAX_BODY_BYTES
    optional: bool = False


@dataclass(frozen=True)
class DocumentedResponse:
    """An answer that is not a problem. `also` are types that `kind` names without containing."""

    description: str
    kind: Any = None
    also: tuple[Any, ...] = ()
    content_type: str = "application/json"


@dataclass(frozen=True)
class Route:
    """One operation. `path` has its parameters in braces, each described in `path_texts`.

    `scope` None means that no key is needed. `problems` are the codes beside those that follow
    from the rest (no key, a bad body, …). `query` is a struct of what its parameters may be: text,
    integers and booleans. `once`: takes the header `Idempotency-Key`. `cached`: the answer has an
    ETag, and the handler compares it with `If-None-Match`.
    """

    method: str
    path: str
    name: str
    summary: str
    handler: Handler
    replies: Mapping[int, DocumentedResponse]
    description: str = ""
    scope: str | None = None
    open_on_loopback: bool = False
    body: Body | None = None
    query: type[msgspec.Struct] = NoQuery
    path_texts: Mapping[str, str] = field(default_factory=dict)
    problems: tuple[str, ...] = ()
    once: bool = False
    cors: bool = False
    cached: bool = False


@dataclass(frozen=True)
class App:
    """Routes that belong together, as one daemon or one part of a page serves them.

    `adjust` may complete the schemas of the OpenAPI document with limits that are settings.
    """

    name: str
    description: str
    routes: tuple[Route, ...]
    adjust: Callable[[dict[str, Any]], None] = lambda schemas: None
