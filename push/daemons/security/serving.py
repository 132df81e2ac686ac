"""The certificates that listeners show, while the daemon runs."""

from __future__ import annotations

import datetime
from collections.abc import Iterator
from pathlib import Path

from OpenSSL import SSL
from twisted.application.service import Service
from twisted.internet.interfaces import IOpenSSLServerConnectionCreator
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from push.daemons.security.certificate import ServerTls
from push.daemons.security.https import HttpsFactory
from push.daemons.security.tls_context import TICKET_KEY_SECONDS
from push.runtime.ports import Clock
from push.runtime.timers import Periodic

log = Logger()

WARN_DAYS = 14


@implementer(IOpenSSLServerConnectionCreator)
class ServingTls:
    """The TLS of a listener whose certificate can be replaced: by the context of another one.

    A context that was used is never changed: sessions hold theirs, and OpenSSL promises nothing
    about changing it under them.
    """

    def __init__(self, tls: ServerTls) -> None:
        self.now = tls

    def serverConnectionForTLS(self, tlsProtocol: object) -> SSL.Connection:  # noqa: N803, zope's name
        """Twisted asks for one at each handshake."""
        return SSL.Connection(self.now.context, None)

    def around(self, factory: object, reactor: object) -> HttpsFactory:
        """What listens for connections of `factory` inside TLS."""
        # zope's interfaces are no types to mypy.
        return HttpsFactory(self, False, factory, reactor)  # type: ignore[arg-type]

    def renew(self) -> None:
        """Tickets that were given before are of no use from now on."""
        self.now = self.now.renewed()


class Certificates(Service):
    """Those of one daemon, by the name of what shows them: "connector", "http".

    Every 12 hours each gets a new key for tickets, and the log names those that end soon.
    """

    def __init__(self, clock: Clock) -> None:
        self._serving: dict[str, ServingTls] = {}
        self._renewals = Periodic(clock, TICKET_KEY_SECONDS, self._renew, _log_failure)

    def startService(self) -> None:
        super().startService()
        self._renewals.start()

    def stopService(self) -> None:
        super().stopService()
        self._renewals.stop()

    def add(self, name: str, tls: ServerTls) -> ServingTls:
        serving = self._serving[name] = ServingTls(tls)
        log.info(
            "TLS of {name}: {certificate}, {days} days",
            name=name,
            certificate=str(tls),
            days=(tls.not_after - datetime.datetime.now(datetime.UTC)).days,
            event="tls.loaded",
        )
        self._warn()
        return serving

    def replace(self, name: str, tls: ServerTls) -> str:
        """Show another certificate from now on. Returns what the log says about it."""
        self._serving[name].now = tls
        self._warn()
        return str(tls)

    def ca_file(self, name: str) -> Path | None:
        """The file that a client must trust: a certificate that no CA has signed."""
        serving = self._serving.get(name)
        if serving is None:
            return None
        leaf = serving.now.identity.chain[0]
        return serving.now.certificate_path if leaf.issuer == leaf.subject else None

    def notes(self) -> list[str]:
        """Which certificates end soon, or have ended, in sentences."""
        return list(self._ending(datetime.datetime.now(datetime.UTC)))

    def ends(self) -> dict[str, float]:
        """When each certificate ends, in seconds since 1970 UTC."""
        return {name: each.now.not_after.timestamp() for name, each in self._serving.items()}

    def _ending(self, now: datetime.datetime) -> Iterator[str]:
        for name, serving in self._serving.items():
            tls = serving.now
            left = tls.not_after - now
            if left < datetime.timedelta(0):
                left_text = f"has ended on {tls.not_after:%Y-%m-%d}"
            elif left < datetime.timedelta(days=WARN_DAYS):
                left_text = f"ends on {tls.not_after:%Y-%m-%d}, in {left.days} days"
            else:
                continue
            yield f"the certificate {tls.certificate_path} of {name} {left_text}: renew it"

    def _renew(self) -> None:
        for serving in self._serving.values():
            serving.renew()
        self._warn()

    def _warn(self) -> None:
        for note in self.notes():
            log.warn("{note}", note=note, event="tls.note")


def _log_failure(failure: Failure) -> None:
    log.failure("TLS could not be renewed", failure, event="tls.renewal_failed")
