"""What the fixture `push_server` gives: where the server is, its keys, and clients at hand.

One server serves a whole test session, so tests keep out of each other's way by names: every device
is new, and `unique("anna")` is a user, topic or group that no other test has.
"""

from __future__ import annotations

import hashlib
import itertools
import secrets
import ssl
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from push.sdk.backend import MessageLedger, PushAPI
from push.testing.inbox import WAIT_SECONDS, MessageInbox
from push.testing.jwt import sign_jwt
from push.testing.process import DaemonProcess, ServerDidNotStart
from push.wire.addresses import HostPort

__all__ = ["MessageInbox", "PushServer", "RegisteredDevice", "ServerDidNotStart", "started_server"]

JWT_SECONDS = 3600
LOOK_SECONDS = 0.02
CARRIERS = {"tls": "", "tcp": "", "wss": "/ws", "ws": "/ws"}  # with the path of their URLs


@dataclass(frozen=True, slots=True)
class RegisteredDevice:
    """A registered device, and the user that it is bound to."""

    token: str
    secret: str
    user: str | None = None


class PushServer:
    """A running server. `servers` has its URLs by carrier, one of `CARRIERS`."""

    def __init__(
        self, process: DaemonProcess, addresses: Mapping[str, HostPort], jwt_secret: bytes
    ) -> None:
        self._process = process
        self._jwt_secret = jwt_secret
        self._numbers = itertools.count(1)
        self._run = secrets.token_hex(3)
        self.http_url = f"http://{addresses['http']}"
        self.servers = {
            carrier: f"{carrier}://{addresses[carrier]}{path}"
            for carrier, path in CARRIERS.items()
            if carrier in addresses
        }

    @property
    def pid(self) -> int:
        """The server's process."""
        return self._process.pid

    @property
    def log(self) -> Path:
        """The file with the server's log."""
        return self._process.log

    # --- Keys -----------------------------------------------------------------------------------

    @cached_property
    def admin_key(self) -> str:
        """An API key with every scope: what a backend has."""
        return (self._process.data / "admin.key").read_text().strip()

    @cached_property
    def app_key(self) -> str:
        """An API key that registers devices and does nothing else: what an app has."""
        return (self._process.data / "app.key").read_text().strip()

    @property
    def ca_file(self) -> str:
        """The server's self-signed certificate, for `ca_file=` of the clients."""
        return str(self._process.data / "server.crt")

    @cached_property
    def fingerprint(self) -> str:
        """Its SHA-256, for `fingerprint=` of the clients: `4A:0B:…`."""
        certificate = ssl.PEM_cert_to_DER_cert(Path(self.ca_file).read_text())
        return hashlib.sha256(certificate).digest().hex(":").upper()

    def jwt(
        self,
        user: str,
        *,
        token: str | None = None,
        topics: Sequence[str] = (),
        seconds: int = JWT_SECONDS,
        **claims: object,
    ) -> str:
        """A JWT of `user` that is valid for `seconds`; `claims` are added, or replace others."""
        standard: dict[str, object] = {
            "sub": user,
            "aud": "push",
            "exp": int(time.time()) + seconds,
            **({"token": token} if token is not None else {}),
            **({"topics": list(topics)} if topics else {}),
        }
        return sign_jwt({**standard, **claims}, self._jwt_secret)

    # --- Clients --------------------------------------------------------------------------------

    @cached_property
    def api(self) -> PushAPI:
        """A backend that may do everything. It blocks; threads may share it."""
        return PushAPI(self.http_url, self.admin_key)

    def unique(self, name: str = "test") -> str:
        """`name` with a suffix that nobody else gets: for users, topics and groups."""
        return f"{name}-{self._run}-{next(self._numbers)}"

    def device(self, user: str | None = None) -> RegisteredDevice:
        """A new device, bound to `user`."""
        pair = self.api.register_device("test", "push.testing")
        if user is not None:
            self.api.bind(user, pair.token)
        return RegisteredDevice(pair.token, pair.secret, user)

    def client_options(self, who: RegisteredDevice | str) -> dict[str, Any]:
        """Arguments of a `PushClient` that connects as the device, or as the user of that name."""
        return {
            "servers": [self.servers["tls"]],
            "ca_file": self.ca_file,
            **(
                {"jwt": self.jwt(who)}
                if isinstance(who, str)
                else {"token": who.token, "secret": who.secret}
            ),
        }

    def listen(self, who: RegisteredDevice | str) -> MessageInbox:
        """`with push_server.listen(device) as inbox:` gets what the device, or the user, gets."""
        return MessageInbox(self.client_options(who))

    # --- Waiting --------------------------------------------------------------------------------

    def wait_acknowledged(
        self, message_id: str, devices: int = 1, timeout_seconds: float = WAIT_SECONDS
    ) -> MessageLedger:
        """What became of a message, when so many devices have acknowledged it.

        Raises AssertionError when they do not.
        """
        __tracebackhide__ = True
        deadline = time.monotonic() + timeout_seconds
        while (ledger := self.api.message(message_id)).acknowledged < devices:
            if time.monotonic() > deadline:
                raise AssertionError(
                    f"{ledger.acknowledged} of {devices} devices acknowledged {message_id} within "
                    f"{timeout_seconds:g} s: {ledger}"
                )
            time.sleep(LOOK_SECONDS)
        return ledger

    def close(self) -> None:
        """End the server and its Redis."""
        if "api" in self.__dict__:
            self.api.close()
        self._process.stop()


@contextmanager
def started_server(
    folder: Path, settings: Mapping[str, object] | None = None
) -> Iterator[PushServer]:
    """A server of your own, with its data and its log in `folder`, to the end of the block.

    The folder is made if there is none; a server that was there before goes on with its data.
    Raises `ServerDidNotStart`.
    """
    folder = folder.resolve()  # the server runs in it
    folder.mkdir(parents=True, exist_ok=True)
    secret = secrets.token_hex(32).encode()
    key_file = folder / "jwt.secret"
    key_file.write_bytes(secret)
    process = DaemonProcess(folder, {"auth.jwt_key_file": str(key_file), **(settings or {})})
    try:
        server = PushServer(process, process.wait_until_ready(), secret)
    except BaseException:
        process.stop()
        raise
    try:
        yield server
    finally:
        server.close()
