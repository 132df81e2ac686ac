"""What a client core asks of its shell: the only things that need a network, or the application.

Each action is answered by one of the core's methods, named with it. The shell performs actions in
the order in which they come. When the core is over, it cancels what still runs.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Protocol

from push.sdk.address import ServerAddress
from push.sdk.credentials import Credentials
from push.sdk.dialing import Address
from push.sdk.errors import ConnectionFailed


class ClientState(Enum):
    """Where the client is. The detail that comes with it says why, for people."""

    IDLE = "idle"
    CONNECTING = "connecting"
    CONNECTED = "connected"
    WAITING = "waiting"
    CLOSED = "closed"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Dial:
    """Connect, and for TLS judge the certificate: `dialed` or `dial_failed`. Then bytes:
    `receive_data` and `connection_lost`."""

    server: ServerAddress


@dataclass(frozen=True, slots=True)
class HangUp:
    """Send what is queued and close the connection, or stop dialing: `hung_up`.

    `is_ours`: the server does not close by itself; let it read the rest, then it does. `abort`:
    nobody is there to take the rest.
    """

    is_ours: bool = False
    abort: bool = False


@dataclass(frozen=True, slots=True)
class MakeJWT:
    """Call the application's `jwt`: `jwt_made` or `jwt_failed`."""


@dataclass(frozen=True, slots=True)
class StoreCredentials:
    """Call the application's `on_credentials`, if there is one: `stored` or `failed`."""

    credentials: Credentials


@dataclass(frozen=True, slots=True)
class AskServers:
    """GET /v1/servers: `servers_found` or `servers_failed`."""


@dataclass(frozen=True, slots=True)
class ReportState:
    """Call the application's `on_state`; `failed` if it raises."""

    state: ClientState
    detail: str


Action = Dial | HangUp | MakeJWT | StoreCredentials | AskServers | ReportState


class Machine(Protocol):
    """What a shell runs. `now` is monotonic, in seconds."""

    @property
    def is_over(self) -> bool: ...
    def take_actions(self) -> list[Action]: ...
    def data_to_send(self) -> bytes: ...
    def next_deadline(self) -> float | None: ...
    def tick(self, now: float) -> None: ...
    def dialed(self, address: Address, now: float) -> None: ...
    def dial_failed(self, error: ConnectionFailed, now: float) -> None: ...
    def receive_data(self, data: bytes, now: float) -> None: ...
    def connection_lost(self, reason: str, now: float) -> None: ...
    def hung_up(self, now: float) -> None: ...
    def jwt_made(self, jwt: str, now: float) -> None: ...
    def jwt_failed(self, error: Exception, now: float) -> None: ...
    def stored(self, credentials: Credentials, now: float) -> None: ...
    def servers_found(self, urls: list[str], now: float) -> None: ...
    def servers_failed(self, reason: str, now: float) -> None: ...
    def failed(self, error: Exception, now: float) -> None: ...
    def close(self, now: float) -> None: ...
