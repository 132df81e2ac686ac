"""The network between pages and connectors, which can be made to fail for one device.

Each connector has a relay, whose address pages are told. A relay passes bytes on and reads along
until it has seen whose connection it is: the token in `CONNECT`. The network of a device fails in
two ways. `cut`: its connections are reset, new ones as soon as they are known. `silent`: nothing
gets through in either direction, and no side learns of it; when it is over, everything arrives.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
from typing import Any

from wsproto import ConnectionType, WSConnection
from wsproto.events import AcceptConnection, Request, TextMessage
from wsproto.utilities import LocalProtocolError, RemoteProtocolError

from push.http.demo.bodies import CutKind, CutOrder

READ_BYTES = 64 * 1024
# A page that has not connected after so much is left alone.
MOST_WATCHED_BYTES = 64 * 1024


class ConnectWatcher:
    """Reads along what a page sends, until its `CONNECT` has told the token."""

    def __init__(self) -> None:
        self._websocket: WSConnection | None = WSConnection(ConnectionType.SERVER)
        self._bytes = 0
        self._text = ""

    def feed(self, data: bytes) -> str | None:
        """The token, once."""
        self._bytes += len(data)
        if self._websocket is None or self._bytes > MOST_WATCHED_BYTES:
            return None
        try:
            self._websocket.receive_data(data)
            for event in self._websocket.events():
                if isinstance(event, Request):
                    # The answer itself is the connector's.
                    self._websocket.send(AcceptConnection())
                elif isinstance(event, TextMessage) and (token := self._token_in(event)):
                    self._websocket = None
                    return token
        except (RemoteProtocolError, LocalProtocolError):
            self._websocket = None
        return None

    def _token_in(self, event: TextMessage) -> str | None:
        self._text += event.data
        if not event.message_finished:
            return None
        text, self._text = self._text, ""
        return token_in(text)


def token_in(text: str) -> str | None:
    """The token in a message of the device protocol, if it is a `CONNECT`."""
    try:
        frame: Any = json.loads(text)
        token = frame["content"]["token"] if frame["signal"] == "CONNECT" else None
    except (ValueError, LookupError, TypeError, RecursionError):
        return None
    return token if isinstance(token, str) else None


class Outage:
    """The bad network of one device. `over` is set at its end."""

    def __init__(self, how: CutKind) -> None:
        self.how = how
        self.over = asyncio.Event()


class PageNetwork:
    """All relays, and the devices whose network fails now."""

    def __init__(self) -> None:
        self._outages: dict[str, Outage] = {}
        self._links: set[Link] = set()
        self._servers: list[asyncio.Server] = []

    async def relay(self, preferred_port: int) -> Relay:
        """Listen on loopback: on that port, or on a free one."""
        relay = Relay(self)
        try:
            server = await asyncio.start_server(relay.accept, "127.0.0.1", preferred_port)
        except OSError:
            server = await asyncio.start_server(relay.accept, "127.0.0.1", 0)
        relay.port = server.sockets[0].getsockname()[1]
        self._servers.append(server)
        return relay

    def cut(self, order: CutOrder) -> int:
        """The network of a device fails from now on. Returns how many connections it had."""
        self._restore(order.token)
        outage = self._outages[order.token] = Outage(order.how)
        asyncio.get_running_loop().call_later(order.seconds, self._end, order.token, outage)
        own = [link for link in self._links if link.token == order.token]
        if order.how == "cut":
            for link in own:
                link.reset()
        return len(own)

    def outage_of(self, token: str | None) -> Outage | None:
        return None if token is None else self._outages.get(token)

    def add(self, link: Link) -> None:
        self._links.add(link)

    def remove(self, link: Link) -> None:
        self._links.discard(link)

    def close(self) -> None:
        for server in self._servers:
            server.close()
        for link in list(self._links):
            link.reset()

    def _end(self, token: str, outage: Outage) -> None:
        if self._outages.get(token) is outage:
            self._restore(token)

    def _restore(self, token: str) -> None:
        if (outage := self._outages.pop(token, None)) is not None:
            outage.over.set()


class Relay:
    """The way to one connector. `target` is its port, 0 while it does not run."""

    def __init__(self, network: PageNetwork) -> None:
        self._network = network
        self.port = 0
        self.target = 0

    async def accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        link = Link(self._network, reader, writer)
        try:
            if self.target:
                await link.run(self.target)
        except OSError:
            pass  # the connector is not there
        finally:
            link.reset()


class Link:
    """One connection of a page, and the one to the connector that it is passed on by."""

    def __init__(
        self, network: PageNetwork, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        self.token: str | None = None
        self._network = network
        self._page = (reader, writer)
        self._writers = [writer]
        self._watcher = ConnectWatcher()

    async def run(self, port: int) -> None:
        """Pass everything on until one side closes."""
        connector = await asyncio.open_connection("127.0.0.1", port)
        self._writers.append(connector[1])
        self._network.add(self)
        both = [
            asyncio.create_task(self._pass(self._page[0], connector[1], is_page=True)),
            asyncio.create_task(self._pass(connector[0], self._page[1], is_page=False)),
        ]
        try:
            await asyncio.gather(*both)
        finally:
            for task in both:
                task.cancel()
            self._network.remove(self)

    def reset(self) -> None:
        for writer in self._writers:
            writer.transport.abort()

    async def _pass(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, is_page: bool
    ) -> None:
        with contextlib.suppress(ConnectionError):
            while data := await reader.read(READ_BYTES):
                if is_page and self.token is None:
                    self.token = self._watcher.feed(data)
                while (outage := self._network.outage_of(self.token)) is not None:
                    if outage.how == "cut":
                        self.reset()
                        return
                    await outage.over.wait()
                writer.write(data)
                await writer.drain()
            if writer.can_write_eof():
                writer.write_eof()
