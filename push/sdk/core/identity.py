"""What a client takes from server to server: credentials, the memory of messages, the heartbeat."""

from __future__ import annotations

from collections.abc import Callable

from push.sdk.core.settings import ADAPTIVE, ClientSettings
from push.sdk.credentials import renewal_delay_seconds
from push.sdk.dialing import AddressOrder
from push.session.client import ClientSession
from push.session.client.events import MessageReceived
from push.session.client.heartbeat import AdaptiveHeartbeat
from push.session.client.memory import ClientCursors, Deliveries
from push.session.client.receiving import MessageReceiver

MIN_RENEWAL_SECONDS = 1.0


class ClientIdentity:
    """`credentials` is the only place that says whether there is a device.

    `registering`: a SUB is on its way, on one of two connections: a client registers once.
    `on_registered` is called when that is over, whatever came of it.
    """

    def __init__(self, settings: ClientSettings, sdk_name: str) -> None:
        self.settings = settings
        self.credentials = settings.pair
        self.deliveries = Deliveries()
        self.order = AddressOrder()
        self.jwt = settings.jwt if isinstance(settings.jwt, str) else None
        self.heartbeat = AdaptiveHeartbeat(settings.heartbeat_memory, settings.network)
        self.registering = False
        self.on_registered: Callable[[], None] = lambda: None
        self._sdk_name = sdk_name
        self._cursors = ClientCursors()
        self._device_wanted = settings.jwt is None

    @property
    def must_register(self) -> bool:
        return self.credentials is None and self._device_wanted

    @property
    def must_make_jwt(self) -> bool:
        return self.jwt is None and callable(self.settings.jwt)

    def forget_device(self) -> None:
        """The server does not know the token: register next time."""
        self.credentials = None
        self._device_wanted = True

    def new_session(self) -> ClientSession:
        adaptive = self.heartbeat if self.settings.heartbeat == ADAPTIVE else None
        return ClientSession(self.deliveries, self._cursors, adaptive)

    def finished(self, message: MessageReceived) -> None:
        """The application is done with it while there is no connection."""
        MessageReceiver(self.deliveries, self._cursors).finish(message)

    def send_registration(self, session: ClientSession, now: float) -> int:
        settings = self.settings
        return session.register(
            now,
            platform=settings.platform,
            app=settings.app,
            key=settings.key or None,
            device=settings.device,
        )

    def send_connect(self, session: ClientSession, now: float) -> int:
        settings, credentials = self.settings, self.credentials
        heartbeat = settings.heartbeat
        return session.connect(
            now,
            token=credentials.token if credentials else None,
            secret=credentials.secret if credentials else None,
            jwt=self.jwt,
            heartbeat_seconds=heartbeat if isinstance(heartbeat, int) else None,
            window_messages=settings.window,
            max_frame_bytes=settings.max_frame,
            sdk=self._sdk_name,
        )


class JWTRenewal:
    """When a JWT that names its end is to be renewed, in one session.

    The server's clock judges it. `server_time_ms`: what CONNECT_ACK said, at `now`.
    """

    def __init__(self, server_time_ms: int, now: float) -> None:
        self._server_time_ms = server_time_ms
        self._opened_at = now
        self.due_at: float | None = None

    def schedule(self, jwt: str, now: float) -> None:
        passed_ms = int((now - self._opened_at) * 1000)
        delay = renewal_delay_seconds(jwt, self._server_time_ms + passed_ms)
        self.due_at = None if delay is None else now + max(delay, MIN_RENEWAL_SECONDS)

    def take_due(self, now: float) -> bool:
        """Whether it is due; only once."""
        is_due = self.due_at is not None and now >= self.due_at
        if is_due:
            self.due_at = None
        return is_due
