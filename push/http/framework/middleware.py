"""What happens to every request around its handler.

In this order: the target (400, 422), the router (404, 405), the key (401, 403), headers, query and
path (422), content type (415), body (400, 413, 422), then the handler. Klein has the routes; a
handler sees a `Request` and never the request.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Coroutine, Iterable, Mapping
from functools import partial
from typing import Any

from klein import Klein
from msgspec import structs
from twisted.internet.defer import Deferred
from twisted.logger import Logger
from twisted.python.failure import Failure
from twisted.web.http_headers import Headers
from twisted.web.resource import Resource
from twisted.web.server import Request as HttpRequest
from werkzeug.exceptions import MethodNotAllowed

from push.access.api_keys import ApiKey
from push.http.edge.body_stream import channel_of, write_stream
from push.http.edge.incoming import IncomingRequest
from push.http.edge.rendering import Answered, RoutedResource
from push.http.framework.access import Guards, RequestAccess
from push.http.framework.client_address import origin_of
from push.http.framework.parameters import check_path_parameters
from push.http.framework.problems import (
    allowed_methods,
    answer_to,
    internal_answer,
    quota_headers,
)
from push.http.framework.request_reading import (
    NoBody,
    check_addressable,
    check_content_encoding,
    check_content_type,
    read_idempotency_key,
    read_query,
)
from push.http.framework.route import Endpoint, NoQuery, Request, Response
from push.runtime.tracing import ACCEPT, Tracer, ending_of_request
from push.runtime.turns import Work
from push.wire.reading import decoder_for

_log = Logger()

PREFLIGHT_SECONDS = 600
EXPOSED_HEADERS = b"Retry-After, RateLimit-Policy, RateLimit"
_PARAMETER = re.compile(r"{(\w+)}")
# The route's name ("none": there is none), the status, the seconds from the whole request to its
# answer (None where nothing was waited for), the client's address and the key's name ("": none).
NoteAnswer = Callable[[str, int, float | None, str, str], None]

_decode_no_body = decoder_for(NoBody)


class Routing:
    """All routes of one port.

    `note_answer` is called for every answer, with times of `seconds()`. `tracer` None: no request
    is traced.
    """

    def __init__(
        self,
        routes: Iterable[Endpoint],
        guards: Guards,
        *,
        seconds: Callable[[], float],
        note_answer: NoteAnswer,
        tracer: Tracer | None = None,
    ) -> None:
        self.access = RequestAccess(guards)
        self._rates = guards.rates
        self._auditing = guards.auditing
        self._proxies = guards.proxies
        self._origins = guards.origins
        self._seconds = seconds
        self._note_answer = note_answer
        self._tracer = tracer
        self._cors: dict[bytes, bytes] = {}
        self._app = Klein()
        # Otherwise //v1/push is answered with a redirect.
        self._app.url_map.merge_slashes = False
        for route in routes:
            self._add(route)

    def resource(self) -> Resource:
        return RoutedResource(self._app, check_addressable, self._unrouted)

    def _add(self, route: Endpoint) -> None:
        self.access.add(route)
        if route.cors:
            self._cors[route.path.encode()] = route.method.encode()

        def respond(request: HttpRequest, **path: str) -> Answered:
            return self._respond(route, request, path)

        respond.__name__ = route.name
        self._app.route(
            _PARAMETER.sub(r"<\1>", route.path), methods=[route.method], endpoint=route.name
        )(respond)

    # --- a request that has a route ------------------------------------------------------------

    def _respond(self, route: Endpoint, request: HttpRequest, path: Mapping[str, str]) -> Answered:
        assert request.content is not None  # it is made when the headers are read
        raw = request.content.read()  # now: it is closed when the client goes
        in_turn = channel_of(request).sender.in_turn
        return _shielded(self.run(route, request, path, raw), in_turn).addCallback(
            lambda answer: self._answer_with(request, answer)
        )

    def _read(
        self,
        route: Endpoint,
        request: IncomingRequest,
        path: Mapping[str, str],
        raw: bytes,
        client_ip: str,
        api_key: ApiKey | None,
    ) -> Request:
        """The request as a `Request`; raises `RequestError` for the first thing that is wrong with
        it."""
        headers = request.requestHeaders
        scope, idempotency_key = "", None
        if route.idempotent and api_key is not None:
            scope = f"{api_key.sha256} {route.method} {route.path}"
            key = read_idempotency_key(headers.getRawHeaders(b"idempotency-key"))
            idempotency_key = key and f"{scope} header {key}"
        query = None
        if route.query is not NoQuery or b"?" in request.uri:
            query = read_query(request.uri, route.query)
        if path:
            check_path_parameters(path)
        body = None
        if raw:
            check_content_encoding(headers.getRawHeaders(b"content-encoding"))
        if route.body is not None and (raw or not route.body.optional):
            check_content_type(headers.getRawHeaders(b"content-type"))
            body = route.body.decode(raw)
        elif raw:
            # Not ignored: a client that sends fields expects them to do something.
            check_content_type(headers.getRawHeaders(b"content-type"))
            _decode_no_body(raw)
        origin = partial(origin_of, request, self._proxies)
        if_none_match = request.getHeader(b"if-none-match") if route.cached else None
        allowed = partial(self.access.is_allowed, headers, route)
        return Request(
            path=path,
            query=query,
            body=body,
            client_ip=client_ip,
            origin=origin,
            scope=scope,
            idempotency_key=idempotency_key,
            if_none_match=if_none_match,
            is_allowed=allowed,
            api_key=api_key,
        )

    async def run(
        self, route: Endpoint, request: IncomingRequest, path: Mapping[str, str], raw: bytes
    ) -> Response:
        """The handler's answer, or the one to what is wrong or was raised. Raises nothing."""
        quota = api_key = call = None
        client_ip = ""
        began = self._seconds()
        span = None
        if self._tracer is not None and route.traced:
            span = self._tracer.start(ACCEPT, _traceparent_of(request))
        try:
            if not self.access.is_current:
                await self.access.make_current(route, request)
            client_ip, api_key = self.access.let_in(route, request, path)
            if api_key is not None and self._rates is not None:
                quota = await self._rates.take(api_key.sha256)
            call = self._read(route, request, path, raw, client_ip, api_key)
            if span is not None:
                call = structs.replace(call, trace=span.traceparent)
            answer = await route.handler(call)
        except Exception as error:
            answer = self._answer(error, route.name)
        if self._auditing is not None and api_key is not None:
            query, body = (call.query, call.body) if call is not None else (None, None)
            self._auditing.answered(
                route, api_key.name, client_ip, path, query, body, answer.status
            )
        if quota is not None:
            answer = structs.replace(answer, headers=(*answer.headers, *quota_headers(*quota)))
        key = "" if api_key is None else api_key.name
        self._note_answer(route.name, answer.status, self._seconds() - began, client_ip, key)
        if span is not None:
            span.end(*ending_of_request(route.method, route.path, answer.status))
        return answer

    def _answer(self, error: Exception, where: str) -> Response:
        answer = answer_to(error)
        if answer is None:
            _log.failure("{where} failed", Failure(error), where=where, event="http.handler_failed")
            answer = internal_answer()
        return answer

    # --- a request that has none ---------------------------------------------------------------

    def _unrouted(self, request: HttpRequest, error: Exception) -> bytes:
        """The body of the answer to what the router raised, or cannot read."""
        if isinstance(error, MethodNotAllowed) and request.method == b"OPTIONS":
            return self._send(request, self._options(request, allowed_methods(error)))
        answer = self._answer(error, "the router")
        self._note_answer("none", answer.status, None, "", "")
        return self._send(request, answer)

    def _options(self, request: HttpRequest, allow: bytes) -> Response:
        headers = [(b"Allow", allow)]
        method = self._cors.get(request.path)
        if method is not None and self._calling_page(request):
            headers += [
                (b"Access-Control-Allow-Methods", method),
                (b"Access-Control-Allow-Headers", b"Authorization, Content-Type"),
                (b"Access-Control-Max-Age", b"%d" % PREFLIGHT_SECONDS),
            ]
        return Response(204, headers=tuple(headers))

    # --- the answer ----------------------------------------------------------------------------

    def _answer_with(self, request: HttpRequest, answer: Response) -> Answered:
        body = self._send(request, answer)
        return body if answer.stream is None else write_stream(request, answer.stream)

    def _send(self, request: HttpRequest, answer: Response) -> bytes:
        """Set status and headers; the bytes that are returned are written."""
        request.setResponseCode(answer.status, answer.reason)
        headers: Headers = request.responseHeaders
        if answer.status not in (204, 304):
            headers.setRawHeaders(b"Content-Type", [answer.content_type])
        if answer.status not in (204, 304) and answer.stream is None:
            headers.setRawHeaders(b"Content-Length", [b"%d" % len(answer.body)])
        for name, value in answer.headers:
            headers.addRawHeader(name, value)
        if self._origins and request.path in self._cors:
            headers.addRawHeader(b"Vary", b"Origin")
            if origin := self._calling_page(request):
                headers.addRawHeader(b"Access-Control-Allow-Origin", origin)
                headers.addRawHeader(b"Access-Control-Expose-Headers", EXPOSED_HEADERS)
        return answer.body

    def _calling_page(self, request: HttpRequest) -> bytes:
        """The origin of the page, if it may call from a browser; else empty."""
        origin, host = (request.getHeader(name) or b"" for name in (b"origin", b"host"))
        if not origin:
            return b""
        accepts = self._origins.accepts(origin.decode("latin-1"), host.decode("latin-1"))
        return origin if accepts else b""


def _traceparent_of(request: IncomingRequest) -> str | None:
    value = request.getHeader(b"traceparent")
    return None if value is None else value.decode("latin-1")


def _shielded(
    work: Coroutine[Deferred[Any], Any, Response], in_turn: Callable[[Work], object]
) -> Deferred[Response]:
    """`work`'s answer, as a Deferred that may be cancelled without `work` being cancelled. It fires
    when it is its sender's turn (`in_turn`).

    What a handler returned is cancelled when the client disconnects; a push that has begun must
    end. Nothing is lost: `work` raises nothing, and its answer is then dropped.
    """
    visible: Deferred[Response] = Deferred()

    def show(answer: Response) -> None:
        if visible.called and answer.stream is not None:
            answer.stream.stop()
        visible.callback(answer)

    Deferred.fromCoroutine(work).addCallback(lambda answer: in_turn(partial(show, answer)))
    return visible
