"""All connections of a site together: how many there are, and how many bytes they may hold.

When there are too many, one of strangers is ended, who have not shown a valid key: the one that has
waited longest, for its client or for its answer. Connections of those that are known are ended only
where few are strangers', and only while they wait for their client; or, where none does, for an
answer to a request that only reads. So a client that holds connections open loses them, and a
newcomer, or a request for health, is always answered.
"""

from __future__ import annotations

from typing import Protocol

from push.access.rate_limits import RefusalCounts
from push.wire.errors import RequestError

MEBIBYTE = 1024 * 1024
MAX_CONNECTIONS = 512
# An eighth of the connections are for strangers: else newcomers would be ended for newcomers.
STRANGERS_SHARE = 8
# So many more where all are known and have work, an eighth at most: for them, and for health.
MOST_SPARE = 8
MAX_BODY_BYTES_IN_ALL = 128 * MEBIBYTE  # of requests that come in or are being answered
MAX_BODY_BYTES_OF_STRANGERS = 64 * MEBIBYTE  # of these
MAX_UNREAD_BYTES_IN_ALL = 64 * MEBIBYTE  # of answers that clients do not read

READING_METHODS = (b"GET", b"HEAD")  # they change nothing

# The names of these limits in the metrics.
CONNECTIONS = "http_connections"
BODIES = "http_bodies"
UNREAD = "http_unread"


class Client(Protocol):
    """A connection. `has_key`: its request, or the last one, has a key that tells who sent it. (It
    is asked for when that may have changed: in `note_working` and `note_waiting`.)"""

    @property
    def has_key(self) -> bool: ...

    def cut(self) -> None:
        """End it at once."""


class ConnectionLimits:
    """`refusals` counts what did not fit."""

    def __init__(self, max_connections: int, refusals: RefusalCounts) -> None:
        self.max_connections = max_connections
        self._refusals = refusals
        self._least_strangers = max_connections // STRANGERS_SHARE
        self._spare = min(MOST_SPARE, self._least_strangers)
        self._clients: set[Client] = set()
        # In the order in which they began to wait, or their requests to be answered.
        self._strangers: dict[Client, None] = {}
        # Those that are known and wait for their client, to send or to read, in that order.
        self._known: dict[Client, None] = {}
        # Those that are known and wait for an answer that only reads, in that order.
        self._reading: dict[Client, None] = {}
        self._bodies, self._bodies_of_strangers, self._unread = _Bytes(), _Bytes(), _Bytes()

    @property
    def size(self) -> int:
        return len(self._clients)

    @property
    def is_full(self) -> bool:
        """Whether one more would take the place of another."""
        return len(self._clients) >= self.max_connections

    def has_room(self) -> bool:
        """Whether one more may come. It takes the place of another, if there is one to end."""
        if not self.is_full:
            return True
        self._refusals[CONNECTIONS] += 1
        client = self._one_to_end()
        if client is None:
            return len(self._clients) < self.max_connections + self._spare
        self._cut(client)
        return True

    def _one_to_end(self) -> Client | None:
        ended = self._known or self._reading
        if ended and len(self._strangers) <= self._least_strangers:
            return next(iter(ended))
        return next(iter(self._strangers), None)

    def _cut(self, client: Client) -> None:
        self.leave(client)
        client.cut()

    def join(self, client: Client) -> None:
        self._clients.add(client)
        self.note_waiting(client)

    def leave(self, client: Client) -> None:
        """May be called twice."""
        self._clients.discard(client)
        self._forget(client)
        self.release_body(client)
        self.note_read(client)

    def note_waiting(self, client: Client) -> None:
        """It waits for its client from now on."""
        if client in self._clients:
            self._forget(client)
            (self._known if client.has_key else self._strangers)[client] = None

    def note_working(self, client: Client, method: bytes = b"POST") -> None:
        """Its request is being answered, or waits for its turn."""
        if client in self._clients:
            self._forget(client)
            if not client.has_key:
                self._strangers[client] = None
            elif method in READING_METHODS:
                self._reading[client] = None

    def note_streaming(self, client: Client) -> None:
        """Its answer goes on, for as long as the client wants."""
        self._reading.pop(client, None)

    def _forget(self, client: Client) -> None:
        self._strangers.pop(client, None)
        self._known.pop(client, None)
        self._reading.pop(client, None)

    # Bytes

    @property
    def body_bytes(self) -> int:
        """Of all."""
        return self._bodies.total + self._bodies_of_strangers.total

    @property
    def unread_bytes(self) -> int:
        return self._unread.total

    def hold_body(self, client: Client, size: int) -> None:
        """So many more bytes of a body are about to come. Raises `RequestError` `unavailable`."""
        of_strangers = self._bodies_of_strangers
        is_too_much = self.body_bytes + size > MAX_BODY_BYTES_IN_ALL
        if not client.has_key and of_strangers.total + size > MAX_BODY_BYTES_OF_STRANGERS:
            is_too_much = True
        if is_too_much:
            self._refusals[BODIES] += 1
            raise RequestError(
                "unavailable", "too many large requests are being answered", after_seconds=1
            )
        (self._bodies if client.has_key else of_strangers).add(client, size)

    def release_body(self, client: Client) -> None:
        self._bodies.drop(client)
        self._bodies_of_strangers.drop(client)

    def note_unread(self, client: Client, size: int) -> None:
        """So many bytes of an answer wait for a client that does not read."""
        unread = self._unread
        unread.add(client, size - unread.of_client.get(client, 0))
        while unread.total > MAX_UNREAD_BYTES_IN_ALL:
            self._refusals[UNREAD] += 1
            clients = unread.of_client
            strangers = (client for client in clients if not client.has_key)
            self._cut(next(strangers, None) or next(iter(clients)))

    def note_read(self, client: Client) -> None:
        self._unread.drop(client)


class _Bytes:
    """What clients hold, and their sum."""

    def __init__(self) -> None:
        self.of_client: dict[Client, int] = {}
        self.total = 0

    def add(self, client: Client, size: int) -> None:
        self.total += size
        self.of_client[client] = self.of_client.get(client, 0) + size

    def drop(self, client: Client) -> None:
        self.total -= self.of_client.pop(client, 0)
