"""The demo as a part of `twistd push`: wired, started, and cleared away at the end."""

from __future__ import annotations

from typing import Any, cast

from twisted.application.service import Service
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import UNIXClientEndpoint

from push.cluster.drain_command import NodeDrains
from push.daemons.config.settings import Settings
from push.daemons.domain import Domain
from push.http.demo.acts import DemoActs, DemoServices
from push.http.demo.launcher import LauncherClient
from push.http.demo.people import HOST, People
from push.http.demo.room import Room
from push.http.demo.routes import make_demo
from push.runtime.ports import ClientEndpoint, Reactor

# The page asks one port for everything.
DEMO_ROLES = frozenset({"api", "sub", "group"})
DEMO_NOTE = (
    "http.demo is on: a visitor of /demo gets a user (demo-…) and a device, without a key; it is "
    "not for a deployment with real users"
)
NO_DEMO_NOTE = "http.demo does nothing here: only `twistd push` serves the demo"


class DemoService(Service):
    """`app` has the routes. At the end every user that was made is erased."""

    def __init__(self, reactor: Reactor, settings: Settings, domain: Domain) -> None:
        room = Room(domain.chat.groups, domain.chat.conversations, HOST)
        journal = settings.server.data_folder / "demo-users.json"
        self._people = People(reactor, domain.devices, domain.erasure, room, journal)
        self._acts = DemoActs(
            DemoServices(
                clock=reactor,
                pushing=domain.pushing,
                devices=domain.devices,
                directory=domain.directory,
                drains=NodeDrains(domain.directory, domain.control),
                people=self._people,
                room=room,
                launcher=_launcher(reactor, settings.http.demo_launcher),
            )
        )
        self.app = make_demo(self._acts, self._people, room)

    def startService(self) -> None:
        super().startService()
        self._people.start()

    def stopService(self) -> Deferred[None]:
        super().stopService()
        self._acts.stop()
        return Deferred.fromCoroutine(self._people.stop())


def _launcher(reactor: Reactor, path: str) -> LauncherClient | None:
    if not path:
        return None

    def endpoint() -> ClientEndpoint:
        made: Any = UNIXClientEndpoint(cast(Any, reactor), path, timeout=2)
        return cast(ClientEndpoint, made)

    return LauncherClient(reactor, endpoint)
