"""Routes as data: the description of a route is a decorator of the method that handles it.

    class WeatherRoutes:
        def __init__(self, weather: Weather) -> None: ...

        @Route("GET", "/v1/weather/{city}", "Look the weather up", {200: DocumentedResponse(…)}, …)
        async def get_weather(self, call: Request) -> Response: ...

    App("push-api", "…", routes_of(WeatherRoutes(weather)))

Three things follow from it, so that they cannot differ: what Klein answers, what is checked before
a handler runs, and what the OpenAPI document says.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from http import HTTPStatus
from types import FunctionType
from typing import Any, TypeVar

import msgspec

from push.access.api_keys import ApiKey
from push.http.edge.body_stream import BodyStream
from push.http.framework.client_address import HttpCaller
from push.wire.reading import decoder_for

JSON_TYPE = b"application/json"
HTML_TYPE = b"text/html; charset=utf-8"
MAX_BODY_BYTES = 1024 * 1024

_encoder = msgspec.json.Encoder()


class Request(msgspec.Struct, frozen=True):
    """A request that was let in: all that a handler knows of it.

    `path` holds the parameters by name, `query` and `body` the checked structs of the route.
    `client_ip` is the address of the client, also behind trusted proxies, "" when it has none (a
    unix socket). `origin()` tells where the client sent it, as `https://push.example`. `scope`
    names API key, method and path, within which an idempotency key is unique; `idempotency_key` is
    the request's own, with that scope. `if_none_match` is that header of a route that is `cached`.
    `trace` is the traceparent of a route that is `traced`, where requests are traced.
    `is_allowed()`: whether the key is still valid for this, for an answer that goes on.
    `api_key`: the one that it came with, if the route takes one.
    """

    path: Mapping[str, str]
    query: Any
    body: Any
    client_ip: str
    origin: Callable[[], str]
    scope: str = ""
    idempotency_key: str | None = None
    if_none_match: bytes | None = None
    is_allowed: Callable[[], bool] = lambda: True
    api_key: ApiKey | None = None
    trace: str | None = None

    @property
    def turns_of(self) -> str:
        """Who waits for the turns that this request needs: one key is one of those who ask."""
        return "" if self.api_key is None else self.api_key.sha256


class Response(msgspec.Struct, frozen=True):
    """What is sent back: 204 and 304 have neither body nor content type. `stream`: writes the body,
    which goes on until the client goes."""

    status: int
    body: bytes = b""
    content_type: bytes = JSON_TYPE
    headers: tuple[tuple[bytes, bytes], ...] = ()
    stream: BodyStream | None = None

    @property
    def reason(self) -> bytes:
        """The reason phrase of the status; twisted.web does not know all of them."""
        return HTTPStatus(self.status).phrase.encode()


def json_answer(status: int, value: object, *headers: tuple[bytes, bytes]) -> Response:
    """`value` (a struct, or what msgspec can encode) as JSON."""
    return Response(status, _encoder.encode(value), JSON_TYPE, headers)


def closing_bytes(answer: Response, *, with_body: bool) -> bytes:
    """The answer as it is sent before the request is complete; nothing follows it."""
    lines = [b"HTTP/1.1 %d %b" % (answer.status, answer.reason)]
    lines.append(b"Content-Type: " + answer.content_type)
    lines.append(b"Content-Length: %d" % len(answer.body))
    lines.extend(name + b": " + value for name, value in answer.headers)
    lines.append(b"Connection: close")
    return b"\r\n".join(lines) + b"\r\n\r\n" + (answer.body if with_body else b"")


NO_CONTENT = Response(204)

Handler = Callable[[Request], Awaitable[Response]]
Method = TypeVar("Method", bound=Callable[..., Awaitable[Response]])

# A type as msgspec knows it: a struct, or an annotation such as `list[str]`.
Kind = object


class NoQuery(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """The query of a request that takes no parameters."""


@dataclass(frozen=True)
class Body:
    """A JSON body of the type `kind`; `example` is shown in the documentation, and a test sends it.

    `optional`: without one the handler gets None. `read` makes of the bytes what the handler gets,
    if it checks the rest itself; the document has `kind`.
    """

    kind: Kind
    example: object
    max_bytes: int = MAX_BODY_BYTES
    optional: bool = False
    read: Callable[[bytes], Any] | None = None

    @cached_property
    def decode(self) -> Callable[[bytes], Any]:
        """Raises `RequestError` `malformed` or `invalid`."""
        return self.read or decoder_for(self.kind)


@dataclass(frozen=True)
class DocumentedResponse:
    """An answer that is not a problem. `also` are types that `kind` names without containing."""

    description: str
    kind: Kind = None
    also: tuple[Kind, ...] = ()
    content_type: str = "application/json"


@dataclass(frozen=True)
class Route:
    """One operation; a decorator of the method that handles it, whose name is the operation's.

    `path` has its parameters in braces; what they are is in `push.http.framework.parameters`, and
    `path_texts` may say more of one. `scope` None means that no key is needed, or, with `any_key`,
    that any valid one will do. `problems` are the codes beside those that follow from the rest (no
    key, a bad body, …). `query` is a struct of what its parameters may be: text, integers and
    booleans. `idempotent`: takes the header `Idempotency-Key`. `cors`: web pages of other origins
    may call it. `cached`: the answer has an ETag, and the handler compares it with `If-None-Match`.
    `traced`: takes the header `traceparent` where requests are traced. `fast_path`: used so much
    that plain requests take the way of `push/http/fast_path`; it has no parameters in its path, no
    `cors` and no `admit`. `audited`: uses of it are in the audit trail, if it writes; False where
    messages are sent. `admit` raises `RequestError` for a caller who may not use the route,
    whatever they ask for.
    """

    method: str
    path: str
    summary: str
    replies: Mapping[int, DocumentedResponse]
    description: str = ""
    scope: str | None = None
    any_key: bool = False
    open_on_loopback: bool = False
    body: Body | None = None
    query: type[msgspec.Struct] = NoQuery
    path_texts: Mapping[str, str] = field(default_factory=dict)
    problems: tuple[str, ...] = ()
    idempotent: bool = False
    cors: bool = False
    cached: bool = False
    traced: bool = False
    fast_path: bool = False
    audited: bool = True
    admit: Callable[[HttpCaller], None] | None = None

    @property
    def needs_key(self) -> bool:
        return self.scope is not None or self.any_key

    @property
    def has_large_body(self) -> bool:
        """Whether its body may be so large that only some keys may send it."""
        return self.body is not None and self.body.max_bytes > MAX_BODY_BYTES

    def __call__(self, handler: Method) -> Method:
        vars(handler)[_ROUTE] = self
        return handler


@dataclass(frozen=True, kw_only=True)
class Endpoint(Route):
    """A route with its name and the handler that answers it."""

    name: str
    handler: Handler


_ROUTE = "push_route"


def routes_of(resource: object) -> tuple[Endpoint, ...]:
    """The routes of an object's methods, in the order in which its class defines them."""
    routes = {
        name: vars(member)[_ROUTE]
        for name, member in vars(type(resource)).items()
        if isinstance(member, FunctionType) and _ROUTE in vars(member)
    }
    return tuple(
        Endpoint(**vars(route), name=name, handler=getattr(resource, name))
        for name, route in routes.items()
    )


@dataclass(frozen=True)
class App:
    """Routes that belong together, as one daemon or one part of a page serves them.

    `adjust` may complete the schemas of the OpenAPI document with limits that are settings.
    `beside`: what is answered beside the routes, by its path, with the codes of its problems.
    """

    name: str
    description: str
    routes: tuple[Endpoint, ...]
    adjust: Callable[[dict[str, Any]], None] = lambda schemas: None
    beside: Mapping[str, tuple[dict[str, Any], Sequence[str]]] = field(default_factory=dict)
