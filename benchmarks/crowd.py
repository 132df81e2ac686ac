"""Many people in one process, each with a device that talks: what each was told, in order."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from http.client import HTTPConnection
from typing import Any
from urllib.parse import quote

from benchmarks.fleet import Device, Fleet, _receive
from benchmarks.running import Running
from push.wire.frames import Frame, encode_frame
from push.wire.signals import ConnectStatus, RequestName, Signal

TIMEOUT_SECONDS = 60


class Backend:
    """Any request to the HTTP API over one kept connection."""

    def __init__(self, running: Running) -> None:
        self._connection = HTTPConnection(*running.http)
        self._key = running.admin_key

    def call(self, method: str, path: str, body: object = None) -> Any:
        """The answer's JSON; raises AssertionError for a refusal."""
        headers = {"Authorization": f"Bearer {self._key}"}
        if body is not None:
            headers["Content-Type"] = "application/json"
        raw = None if body is None else json.dumps(body)
        self._connection.request(method, path, raw, headers)
        answer = self._connection.getresponse()
        content = answer.read()
        assert answer.status < 300, f"{method} {path}: {answer.status} {content!r}"
        return json.loads(content) if content else None

    def bind(self, user: str, token: str) -> None:
        self.call("PUT", f"/v1/users/{quote(user)}/devices/{quote(token)}")


class Person(Device):
    """A device of somebody: the messages of conversations that came, and the answers."""

    __slots__ = ("answers", "asked", "messages", "user")

    def __init__(self, device: Device, user: str) -> None:
        super().__init__(device.socket)
        self.decoder = device.decoder
        self.pair = device.pair
        self.user = user
        self.messages: list[dict[str, Any]] = []
        self.answers: dict[int, dict[str, Any]] = {}
        self.asked = 100

    def texts(self, conversation: str) -> list[Any]:
        return [m["data"] for m in self.messages if m["conversation"] == conversation]


class Crowd(Fleet):
    """One device for each of `users`; a user may have several."""

    def __init__(self, address: tuple[str, int], users: Sequence[str]) -> None:
        super().__init__(address, len(users))
        self._users = users
        self.people: list[Person] = []

    def meet(self, key: str, backend: Backend) -> None:
        """Register, connect, and bind each device to its user."""
        self.connect(key)
        for user, (number, device) in zip(self._users, list(self._devices.items()), strict=True):
            person = Person(device, user)
            self._devices[number] = person
            self.people.append(person)
            backend.bind(user, person.pair["token"])

    def ask(self, person: Person, name: str, **body: Any) -> int:
        """Send a request; the number of its answer."""
        person.asked += 1
        raw = json.dumps(body).encode()
        person.socket.sendall(encode_frame(Signal.PUBLISH, RequestName[name], person.asked, raw))
        return person.asked

    def answer(self, person: Person, name: str, **body: Any) -> dict[str, Any]:
        number = self.ask(person, name, **body)
        self.pump(lambda: number in person.answers)
        return person.answers.pop(number)

    def leave(self, person: Person) -> None:
        """Cut a device's connection."""
        self._epoll.unregister(person.socket.fileno())
        del self._devices[person.socket.fileno()]
        person.socket.close()

    def come_back(self, person: Person) -> None:
        """A new connection for a device whose last one was cut."""
        fresh = self._add(self._dial())
        person.socket, person.decoder = fresh.socket, fresh.decoder
        person.answers.clear()
        self._devices[person.socket.fileno()] = person
        raw = json.dumps(person.pair).encode()
        person.stage = "new"
        person.socket.sendall(encode_frame(Signal.CONNECT, 0, 1, raw))
        self.pump(lambda: person.stage == "open")

    def pump(self, until: Callable[[], object], timeout_seconds: float = TIMEOUT_SECONDS) -> None:
        """Take and acknowledge what comes until `until()` is true."""
        deadline = time.monotonic() + timeout_seconds
        while not until():
            self.take(0.1)
            assert time.monotonic() < deadline, f"not within {timeout_seconds} s"

    def settle(self, quiet_seconds: float = 0.5) -> None:
        """Take what comes until nothing comes for a while."""
        until = time.monotonic() + quiet_seconds
        while time.monotonic() < until:
            if self.take(0.05):
                until = time.monotonic() + quiet_seconds

    def take(self, patience_seconds: float) -> int:
        """Take and acknowledge what is there; how many had something."""
        ready = self._epoll.poll(patience_seconds, 4096)
        for number, _ in ready:
            person = self._devices[number]
            assert isinstance(person, Person)
            acks = [
                self._take(person, frame) for frame in person.decoder.feed(_receive(person.socket))
            ]
            if any(acks):
                person.socket.sendall(b"".join(acks))
        return len(ready)

    def _take(self, person: Person, frame: Frame) -> bytes:
        """What is answered to a frame."""
        if frame.signal == Signal.PUB_ACK:
            person.answers[frame.message_id] = json.loads(frame.body)
        elif frame.signal == Signal.CONNECT_ACK:
            assert frame.sub_signal == ConnectStatus.ACCEPTED, frame
            person.stage = "open"
        elif frame.signal == Signal.PUSH:
            self.frames += 1
            if b'"kind":"chat"' in frame.body:
                body = json.loads(frame.body)
                if all(body["id"] != m["id"] for m in person.messages[-200:]):
                    person.messages.append(body)
            if frame.message_id:
                return encode_frame(Signal.PUB_ACK, 0, frame.message_id)
        return b""


def make_group(backend: Backend, users: Sequence[str]) -> str:
    """A group of all `users`; the first is the owner."""
    group = backend.call("POST", "/v1/groups", {"owner": users[0], "name": "all"})["group"]
    for start in range(1, len(users), 500):
        part = list(users[start : start + 500])
        results = backend.call("POST", f"/v1/groups/{group}/members", {"users": part})["results"]
        assert set(results.values()) == {"ok"}, results
    return str(group)
