"""What a body may be: how large, and how its chunks are read."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import NamedTuple, Protocol

from twisted.web.http import _ChunkedTransferDecoder

from push.http.framework.framing import check_trailer
from push.wire.errors import RequestError


class BodyAdmission(NamedTuple):
    """The largest body in bytes, and what makes the refusal of a larger one.

    (An exception that was raised before would hold the request, which holds this.)
    """

    max_bytes: int
    refusal: Callable[[], RequestError]


def too_large(max_bytes: int) -> RequestError:
    return RequestError("too_large", f"the body is larger than {max_bytes:,} bytes")


def admission_of(max_bytes: int) -> BodyAdmission:
    return BodyAdmission(max_bytes, partial(too_large, max_bytes))


class BodyReceiver(Protocol):
    """A request whose body comes."""

    def handleContentChunk(self, data: bytes) -> None: ...

    def chunk_announced(self, size: int) -> None: ...


class ChunkDecoder(_ChunkedTransferDecoder):
    """A body in chunks: each size is judged before its chunk comes, and each line of a trailer."""

    def __init__(self, request: BodyReceiver, finish: Callable[[bytes], None]) -> None:
        super().__init__(request.handleContentChunk, finish)
        self._announced = request.chunk_announced

    def _dataReceived_CHUNK_LENGTH(self) -> bool:
        was_read = super()._dataReceived_CHUNK_LENGTH()
        if was_read:
            self._announced(self.length)
        return was_read

    def _dataReceived_TRAILER(self) -> bool:
        goes_on = super()._dataReceived_TRAILER()
        while self._trailerHeaders:
            check_trailer(bytes(self._trailerHeaders.pop()))
        return goes_on
