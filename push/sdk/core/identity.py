"""What a client takes from server to server: credentials, the memory of messages, the heartbeat."""

from __future__ import annotations

from collections.abc import Callable, Iterator, MutableMapping

from push.sdk.core.settings import ADAPTIVE, ClientSettings
from push.sdk.dialing import AddressOrder
from push.sdk.logs import log
from push.session.client import ClientSession
from push.session.client.events import MessageReceived
from push.session.client.heartbeat import AdaptiveHeartbeat
from push.session.client.memory import ClientCursors, Deliveries
from push.session.client.receiving import MessageReceiver


class HeartbeatMemory(MutableMapping[str, int]):
    """The application's mapping; a failure of it (a file on a full disk) hinders no connection."""

    def __init__(self, kept: MutableMapping[str, int]) -> None:
        self._kept = kept

    def __getitem__(self, network: str) -> int:
        try:
            return self._kept[network]
        except KeyError:
            raise
        except Exception as error:
            log.warning("`heartbeat_memory` could not be read: %r", error)
            raise KeyError(network) from None

    def __setitem__(self, network: str, seconds: int) -> None:
        try:
            self._kept[network] = seconds
        except Exception as error:
            log.warning("`heartbeat_memory` could not be written: %r", error)

    def __delitem__(self, network: str) -> None:
        del self._kept[network]

    def __iter__(self) -> Iterator[str]:
        return iter(self._kept)

    def __len__(self) -> int:
        return len(self._kept)


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
        self.jwt: str | None = settings.jwt if isinstance(settings.jwt, str) else None
        kept = {} if settings.heartbeat_memory is None else settings.heartbeat_memory
        self.heartbeat = AdaptiveHeartbeat(HeartbeatMemory(kept), settings.network)
        self.registering = False
        self.on_registered: Callable[[], None] = lambda: None
        self._sdk_name = sdk_name
        self._cursors = ClientCursors()
        self._device_wanted = settings.jwt is None

    @property
    def must_register(self) -> bool:
        return self.credentials is None and self._device_wanted

    @property
    def makes_jwts(self) -> bool:
        """Whether the application can make one."""
        return callable(self.settings.jwt)

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
