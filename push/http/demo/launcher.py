"""Asking the launcher of `make demo`, which is between pages and connectors, for a bad network.

One request a connection, on a unix socket: a line of JSON there, a line of JSON back.
"""

from __future__ import annotations

from collections.abc import Callable

import msgspec
from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectError, ConnectionClosed
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.python.failure import Failure

from push.http.demo.bodies import CutDone, CutOrder
from push.runtime.ports import ClientEndpoint, Clock
from push.runtime.tasks import within
from push.wire.errors import RequestError

ANSWER_SECONDS = 5.0
MAX_ANSWER_BYTES = 4096

_decode = msgspec.json.Decoder(CutDone).decode


class LauncherClient:
    """`connect()` makes an endpoint of the launcher's socket."""

    def __init__(self, clock: Clock, endpoint: Callable[[], ClientEndpoint]) -> None:
        self._clock = clock
        self._endpoint = endpoint

    async def cut(self, order: CutOrder) -> CutDone:
        """Raises `RequestError` `unavailable` when the launcher does not answer."""
        answer: Deferred[bytes] = Deferred()
        call = Deferred.fromCoroutine(self._ask(msgspec.json.encode(order) + b"\n", answer))
        try:
            line: bytes = await within(ANSWER_SECONDS, self._clock, call, TimeoutError)
            return _decode(line)
        except (ConnectError, ConnectionClosed, TimeoutError, msgspec.DecodeError, OSError):
            raise RequestError(
                "unavailable", "the launcher of the demo does not answer", after_seconds=5
            ) from None

    async def _ask(self, line: bytes, answer: Deferred[bytes]) -> bytes:
        protocol = await self._endpoint().connect(Factory.forProtocol(lambda: _ControlLine(answer)))
        try:
            protocol.transport.write(line)
            return await answer
        finally:
            protocol.transport.abortConnection()


class _ControlLine(Protocol):
    """Fires with the first line that comes."""

    def __init__(self, answer: Deferred[bytes]) -> None:
        self._answer = answer
        self._received = b""

    def dataReceived(self, data: bytes) -> None:
        self._received += data
        line, end, _ = self._received.partition(b"\n")
        if (end or len(line) > MAX_ANSWER_BYTES) and not self._answer.called:
            self._answer.callback(line)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        if not self._answer.called:
            self._answer.errback(reason)
