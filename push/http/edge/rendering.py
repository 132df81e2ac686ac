"""Klein's routes, and requests that are answered by them with nothing left behind.

Klein's own resource makes functions for each request that hold each other, and the request with
its body. They would be there until Python looks for such garbage, which then takes longer than a
turn of the reactor may.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial

from klein import Klein
from twisted.internet.defer import CancelledError, Deferred
from twisted.logger import Logger
from twisted.python.failure import Failure
from twisted.web.iweb import IRequest
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET, Request
from werkzeug.exceptions import HTTPException

from push.wire.errors import RequestError

# What a handler of Klein's returns here: the body, now or later.
Answered = bytes | Deferred[bytes]

_log = Logger()


class RoutedResource(Resource):
    """Answers by the routes of `app`. `check(uri)` raises `RequestError` for what its router cannot
    read; `refuse(request, error)` is the body for that, and for what the router raises."""

    isLeaf = True

    def __init__(
        self,
        app: Klein,
        check: Callable[[bytes], None],
        refuse: Callable[[Request, Exception], bytes],
    ) -> None:
        super().__init__()
        self._app = app
        self._check = check
        self._refuse = refuse
        self._router = app.url_map.bind("push")
        # Of routes without parameters, by method and path, when they were asked for once.
        self._plain: dict[tuple[bytes, bytes], str] = {}

    def render(self, request: IRequest) -> int:
        assert isinstance(request, Request)
        try:
            endpoint, parameters = self._route_of(request)
        except (RequestError, HTTPException) as error:
            _finish(request, self._refuse(request, error))
            return NOT_DONE_YET
        answered = self._app.execute_endpoint(endpoint, request, **parameters)
        if isinstance(answered, bytes):
            _finish(request, answered)
        else:
            assert isinstance(answered, Deferred)
            request.notifyFinish().addErrback(lambda _: answered.cancel())
            answered.addCallback(partial(_finish, request)).addErrback(partial(_failed, request))
        return NOT_DONE_YET

    def _route_of(self, request: Request) -> tuple[str, Mapping[str, str]]:
        key = (request.method, request.path)
        endpoint = self._plain.get(key)
        if endpoint is not None:
            return endpoint, {}
        self._check(request.uri)
        assert request.postpath is not None  # the path, decoded
        method, path = request.method.decode("latin-1"), b"/" + b"/".join(request.postpath)
        if method != method.upper():
            # The router would take it for the method in capitals, which is another (RFC 9110 9.1).
            method = f"not-{method}"
        rule, parameters = self._router.match(path.decode(), method, return_rule=True)
        endpoint = str(rule.endpoint)
        if not parameters and b"%" not in request.path:
            self._plain[key] = endpoint
        return endpoint, parameters


def _finish(request: Request, body: bytes) -> None:
    if not request._disconnected:
        request.write(body)
        request.finish()


def _failed(request: Request, failure: Failure) -> None:
    """The client has gone, and what was to come was cancelled; or it could not be written."""
    if not request._disconnected:
        request.processingFailed(failure)
    elif not failure.check(CancelledError):
        _log.failure("an answer was not written", failure=failure, event="http.answer_failed")
