"""Redis for a daemon: the embedded server if it has one, and the connections to all servers."""

from __future__ import annotations

from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from twisted.application.service import Service
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.ssl import Certificate, trustRootFromCertificates
from twisted.logger import Logger
from twisted.python.failure import Failure

from push.daemons.config.errors import StartError
from push.daemons.config.settings import Settings
from push.daemons.embedded_redis.supervisor import EmbeddedRedis
from push.redis.client import RedisClient
from push.redis.connection.url import parse_store_url
from push.redis.identity import Deployment
from push.redis.shards import Shards
from push.runtime.ports import Reactor, TrustRoot

log = Logger()


class RedisService(Service):
    """Starts what is embedded, then connects; stops in the other order, so that nothing is lost."""

    def __init__(self, reactor: Reactor, settings: Settings) -> None:
        self._reactor = reactor
        self._embedded: EmbeddedRedis | None = None
        urls = settings.redis.url.urls
        if settings.redis.url.embedded:
            self._embedded = EmbeddedRedis(reactor, settings.server.data_folder)
            urls = [self._embedded.url]
        trust_root = load_trust_root(settings.redis.ca_file)
        deployment = Deployment(len(urls))
        self.shards = Shards(
            [
                RedisClient(
                    reactor,
                    parse_store_url(url),
                    trust_root=trust_root,
                    deployment=deployment,
                    number=number,
                )
                for number, url in enumerate(urls)
            ]
        )
        self._starting: Deferred[None] | None = None

    def startService(self) -> None:
        super().startService()
        if self._embedded is not None:
            self._embedded.startService()
        self._starting = Deferred.fromCoroutine(self._start())
        self._starting.addErrback(_log_failure)

    async def _start(self) -> None:
        if self._embedded is not None:
            await self._embedded.ready()
        self.shards.start()

    def stopService(self) -> Deferred[None]:
        super().stopService()
        return Deferred.fromCoroutine(self._stop())

    async def _stop(self) -> None:
        if self._starting is not None:
            self._starting.cancel()
        await self.shards.stop()
        if self._embedded is not None:
            await self._embedded.stopService()


def load_trust_root(ca_file: str, section: str = "redis") -> TrustRoot | None:
    """The certificates in a PEM file; None, what the system trusts, for "". Raises `StartError`."""
    if not ca_file:
        return None
    try:
        certificates = x509.load_pem_x509_certificates(Path(ca_file).expanduser().read_bytes())
    except OSError as error:
        raise StartError(f"[{section}] ca_file {ca_file}: {error.strerror}") from None
    except ValueError:
        raise StartError(f"[{section}] ca_file {ca_file}: no certificates in PEM") from None
    encoded = [one.public_bytes(Encoding.PEM) for one in certificates]
    return trustRootFromCertificates([Certificate.loadPEM(one) for one in encoded])


def _log_failure(failure: Failure) -> None:
    if not failure.check(CancelledError):
        log.failure("Redis could not be started", failure=failure, event="redis.start_failed")
