"""Following `GET /v1/events`: each event as it comes, on a connection of its own."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Generator, Iterator
from contextlib import asynccontextmanager, contextmanager

import httpx
import msgspec

from push.sdk.backend.exchange import BaseAPI, error_of, unreachable
from push.sdk.errors import PushAPIError
from push.wire.api.operate.events import Event

_decode = msgspec.json.Decoder(Event).decode


class EventParser:
    """Makes events of the lines of the stream."""

    def __init__(self) -> None:
        self._kind = ""
        self._data = ""

    def take(self, line: str) -> Event | None:
        """The event that ends with this line, if any. Raises `PushAPIError` for what is none."""
        name, _, value = line.partition(":")
        value = value.removeprefix(" ")
        if name == "event":
            self._kind = value
        elif name == "data":
            self._data += value
        elif not line and self._data:
            kind, data = self._kind, self._data
            self._kind = self._data = ""
            try:
                return msgspec.structs.replace(_decode(data), kind=kind)
            except (msgspec.DecodeError, RecursionError) as error:
                raise PushAPIError(200, "malformed", f"this is no event: {error}") from None
        return None


def follow(api: BaseAPI, params: dict[str, str]) -> Generator[Event, None, None]:
    """Raises what a call does, also when the connection is lost."""
    parser = EventParser()
    try:
        with (
            httpx.Client(**api.stream_options) as client,
            _opened(client, api, params) as response,
        ):
            for line in response.iter_lines():
                event = parser.take(line)
                if event is not None:
                    yield event
    except httpx.HTTPError as error:
        raise unreachable("GET", api.events_url, error) from None
    raise unreachable("GET", api.events_url, httpx.ReadError("the server has ended the stream"))


async def follow_async(api: BaseAPI, params: dict[str, str]) -> AsyncGenerator[Event, None]:
    """The same for asyncio."""
    parser = EventParser()
    try:
        async with (
            httpx.AsyncClient(**api.stream_options) as client,
            _opened_async(client, api, params) as response,
        ):
            async for line in response.aiter_lines():
                event = parser.take(line)
                if event is not None:
                    yield event
    except httpx.HTTPError as error:
        raise unreachable("GET", api.events_url, error) from None
    raise unreachable("GET", api.events_url, httpx.ReadError("the server has ended the stream"))


@contextmanager
def _opened(client: httpx.Client, api: BaseAPI, params: dict[str, str]) -> Iterator[httpx.Response]:
    with client.stream("GET", api.events_url, params=params) as response:
        if not response.is_success:
            response.read()
            raise error_of(response)
        yield response


@asynccontextmanager
async def _opened_async(
    client: httpx.AsyncClient, api: BaseAPI, params: dict[str, str]
) -> AsyncIterator[httpx.Response]:
    async with client.stream("GET", api.events_url, params=params) as response:
        if not response.is_success:
            await response.aread()
            raise error_of(response)
        yield response
