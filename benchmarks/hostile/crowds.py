"""Many sessions of one attacker, each of a device of its own."""

from __future__ import annotations

import contextlib
import json
import select
import time
from collections.abc import Iterable
from http.client import HTTPConnection, HTTPException

from benchmarks.hostile.attacker import Attacker
from benchmarks.hostile.connections import Connection, Gone
from push.wire.signals import RequestName, Signal

CROWD = 30  # sessions of an attacker; a user may have 32
WAIT_SECONDS = 30.0


def call(attacker: Attacker, method: str, path: str, body: object = None) -> object:
    """By HTTP, with the attackers' key of a backend; the body of the answer. Raises `Gone`."""
    connection = HTTPConnection("127.0.0.1", attacker.target.http, timeout=WAIT_SECONDS)
    headers = {"Authorization": f"Bearer {attacker.target.api_key}"}
    if body is not None:
        headers["Content-Type"] = "application/json"
    with contextlib.closing(connection):
        try:
            connection.request(method, path, None if body is None else json.dumps(body), headers)
            answer = connection.getresponse().read()
        except (OSError, HTTPException) as error:  # others of the flood took its place
            raise Gone(type(error).__name__) from None
    return json.loads(answer or b"null")


def registered(attacker: Attacker, number: int, users: Iterable[str] = ()) -> list[dict[str, str]]:
    """So many devices, each bound to the next of `users`."""
    pairs = []
    body = json.dumps({"key": attacker.target.app_key, "platform": "x", "app": "x"}).encode()
    while len(pairs) < number:
        connection = attacker.dial("tcp")
        for _ in range(min(3, number - len(pairs))):
            connection.frame(Signal.SUB, body, 1)
            pair = json.loads(connection.answer().body)
            pairs.append({name: pair[name] for name in ("token", "secret")})
        connection.close()
    for pair, user in zip(pairs, users, strict=False):
        call(attacker, "PUT", f"/v1/users/{user}/devices/{pair['token']}")
    return pairs


class Crowd:
    """Sessions that are kept open; one that the server ends is opened again."""

    def __init__(
        self, attacker: Attacker, pairs: list[dict[str, str]], *carriers: str, **options: object
    ) -> None:
        self._attacker = attacker
        self._options = options
        self._poll = select.poll()
        self._of: dict[int, Connection] = {}
        self.sessions: list[Connection] = []
        self._carriers = carriers or ("tcp",)
        self._pairs = pairs
        for place in range(len(pairs)):
            self.sessions.append(self._open(place))

    def _open(self, place: int) -> Connection:
        carrier = self._carriers[place % len(self._carriers)]
        connection = self._attacker.dial(carrier, **self._options)
        connection.connect(self._pairs[place])
        self._of[connection.fileno()] = connection
        self._poll.register(connection.fileno(), select.POLLIN)
        return connection

    def take(self, seconds: float) -> None:
        """Read what is there, for so long."""
        deadline = time.monotonic() + seconds
        while True:
            left_seconds = max(deadline - time.monotonic(), 0)
            for number, _ in self._poll.poll(left_seconds * 1000):
                connection = self._of[number]
                try:
                    connection.take()
                except Gone as gone:
                    self._replace(connection, gone)
            if time.monotonic() >= deadline:
                return

    def send(self, connection: Connection, data: bytes) -> None:
        try:
            connection.send(data)
        except Gone as gone:
            self._replace(connection, gone)

    def request(self, connection: Connection, name: RequestName, body: bytes) -> None:
        """Send a request, whose id must be free, and wait for nothing."""
        message_id = connection.free_ids.popleft()
        self.send(connection, connection.encoded(Signal.PUBLISH, body, message_id, name))

    def _replace(self, connection: Connection, gone: Gone) -> None:
        self._attacker.answers[str(gone)] += 1
        number = connection.fileno()
        self._poll.unregister(number)
        del self._of[number]
        connection.close(abruptly=True)
        place = self.sessions.index(connection)
        self.sessions[place] = self._open(place)
