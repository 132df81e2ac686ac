"""A client of `GET /v1/stream`, by bytes: what the response says, read as a browser would."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from twisted.internet.endpoints import TCP4ClientEndpoint, wrapClientTLS
from twisted.internet.protocol import Factory, Protocol


@dataclass
class StreamEvent:
    """`last_id`: the id that a browser would send back after it."""

    name: str
    data: Any
    last_id: str


@dataclass
class EventReader:
    """Reads the body of a response (the HTML standard, "Interpreting an event stream")."""

    events: list[StreamEvent] = field(default_factory=list)
    comments: list[str] = field(default_factory=list)
    retry_ms: int | None = None
    last_id: str = ""
    _rest: str = ""
    _name: str = ""
    _data: list[str] = field(default_factory=list)

    def feed(self, text: str) -> None:
        *lines, self._rest = (self._rest + text).split("\n")
        for line in lines:
            self._line(line)

    def _line(self, line: str) -> None:
        name, _, value = line.partition(":")
        value = value.removeprefix(" ")
        if not line:
            if self._data:
                data = json.loads("\n".join(self._data))
                self.events.append(StreamEvent(self._name or "message", data, self.last_id))
            self._name, self._data = "", []
        elif not name:
            self.comments.append(value)
        elif name == "event":
            self._name = value
        elif name == "data":
            self._data.append(value)
        elif name == "id":
            self.last_id = value
        elif name == "retry":
            self.retry_ms = int(value)


class StreamClient(Protocol):
    """A connection with one request."""

    def __init__(self) -> None:
        self.reader = EventReader()
        self.raw = b""  # until the body begins
        self.status = 0
        self.headers: dict[str, str] = {}
        self.problem: dict[str, Any] = {}
        self.closed = False
        self._body = b""

    def ask(self, target: str, headers: Mapping[str, str], method: str = "GET") -> None:
        lines = [f"{method} {target} HTTP/1.1", "Host: a"]
        lines += [f"{name}: {value}" for name, value in headers.items()]
        self.transport.write("\r\n".join([*lines, "", ""]).encode())

    def dataReceived(self, data: bytes) -> None:
        if not self.status:
            self.raw += data
            head, end, data = self.raw.partition(b"\r\n\r\n")
            if not end:
                return
            first, *rest = head.decode().split("\r\n")
            self.headers = {
                name.lower(): value for name, _, value in (line.partition(": ") for line in rest)
            }
            self.status = int(first.split(" ")[1])
        if self.status == 200:
            self.reader.feed(data.decode())
        else:
            self._body += data

    def connectionLost(self, reason: Any = None) -> None:
        self.closed = True
        if self._body and "json" in self.headers["content-type"]:
            self.problem = json.loads(self._body)

    @property
    def messages(self) -> list[dict[str, Any]]:
        return [event.data for event in self.reader.events if event.name == "message"]

    @property
    def numbers(self) -> list[Any]:
        """The `data` of the plain messages."""
        return [body["data"] for body in self.messages if "kind" not in body]

    @property
    def kinds(self) -> list[str]:
        return [body["kind"] for body in self.messages if "kind" in body]

    @property
    def last_id(self) -> str:
        return self.reader.last_id

    @property
    def goodbye(self) -> dict[str, Any]:
        found = [event.data for event in self.reader.events if event.name == "disconnect"]
        return dict(found[0]) if found else {}


async def connect_stream(reactor: Any, port: int, tls: Any = None) -> StreamClient:
    endpoint: Any = TCP4ClientEndpoint(reactor, "127.0.0.1", port)
    if tls is not None:
        endpoint = wrapClientTLS(tls, endpoint)
    client: StreamClient = await endpoint.connect(Factory.forProtocol(StreamClient))
    return client
