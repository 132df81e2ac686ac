"""API keys that are made, and revoked, while the deployment runs.

All are in one hash of the first server, by name; Redis has a key's digest, never the key. Every
process has a copy (`push.redis.shared_copy`), so that a request costs no round trip. A change is
answered when every process has it, or is named.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from twisted.logger import Logger
from twisted.python.failure import Failure

from push.access.api_keys import ApiKey, Keyring
from push.redis import keyspace
from push.redis.client import RedisClient
from push.redis.connection.errors import StoreUnavailable
from push.redis.connection.replies import Argument
from push.redis.scripts import load_script
from push.redis.shared_copy import Announce, Lease, SharedCopy, only_here, read_clock
from push.runtime.ports import Clock
from push.runtime.tasks import gather
from push.runtime.timers import Periodic
from push.wire.errors import RequestError

log = Logger()

CHANNEL = "keys"
MAX_KEYS = 1000
# Times of use are kept of so many keys: those that were made, and those that processes have.
MAX_USES = 2 * MAX_KEYS
USES_SECONDS = 1.0

_make = load_script("access", "make_key")
_revoke = load_script("access", "revoke_key")


class MadeKeys:
    """The keys that were made, in the first server. `keyring` judges by the copy of them."""

    def __init__(
        self,
        reactor: Clock,
        server: RedisClient,
        lease: Lease,
        keyring: Keyring,
        announce: Announce = only_here,
    ) -> None:
        self.keyring = keyring
        self._server = server
        self._announce = announce
        self._copy = SharedCopy(reactor, server, lease, CHANNEL, self._read, self._apply)
        self._noting = Periodic(reactor, USES_SECONDS, self.note_uses, _log_failure)
        keyring.follow(self)

    def start(self) -> None:
        self._copy.start()
        self._noting.start()

    def stop(self) -> None:
        self._noting.stop()
        self._copy.stop()

    @property
    def is_current(self) -> bool:
        """Whether the keyring judges by every change that was answered."""
        return self._copy.is_current

    async def wait_until_current(self) -> None:
        """Return when every change that was answered before this call is applied. Raises
        `StoreUnavailable`."""
        await self._copy.wait_until_current()

    def now_ms(self) -> int:
        """The time of the server, in milliseconds since 1970 UTC."""
        return self._server.clock.now_ms()

    async def make(
        self, name: str, sha256: str, scopes: Sequence[str], expires: int | None
    ) -> tuple[ApiKey, list[str]]:
        """It is valid from now on; and the nodes that did not confirm it: they find out before
        they next authorise anybody by a key that was made.

        Raises `RequestError`: `already_exists`, or `not_allowed` when there are as many as there
        may be; and `StoreUnavailable`.
        """
        if any(own.name == name for own in self.keyring.own):
            raise RequestError("already_exists", f"there is a key of the name {name}", field="name")
        created = self.now_ms()
        stored = f"{sha256} {','.join(scopes)} {created} {expires or 0}"
        arguments: list[Argument] = [name, stored, MAX_KEYS]
        async with self._copy.changes:
            outcome = await self._server.run(_make, [], arguments, durable=True, decode=int)
            if outcome > 0:
                key = ApiKey(name, sha256, frozenset(scopes), "made", created, expires)
                return key, await self._announce()
        if outcome == 0:
            raise RequestError("already_exists", f"there is a key of the name {name}", field="name")
        raise RequestError(
            "not_allowed", f"there are {MAX_KEYS} keys that were made, which is the limit"
        )

    async def revoke(self, name: str) -> list[str]:
        """It is valid no longer. Returns the nodes that did not confirm it, as `make`.

        Raises `RequestError`: `not_found`; `not_allowed` for the last key with the scope admin,
        and for a key of a file or of the configuration; and `StoreUnavailable`.
        """
        async with self._copy.changes:
            own = self.keyring.own
            has_other = any("admin" in key.scopes for key in own)
            arguments: list[Argument] = [name, int(has_other)]
            outcome = await self._server.run(_revoke, [], arguments, durable=True, decode=int)
            if outcome > 0:
                return await self._announce()
        if outcome < 0:
            raise RequestError(
                "not_allowed",
                f"{name} is the last key with the scope admin: make another one first",
            )
        for key in own:
            if key.name == name:
                raise RequestError("not_allowed", f"{name} was not made by HTTP: {key.remedy}")
        raise RequestError("not_found", f"there is no key of the name {name}")

    async def uses(self) -> dict[str, int]:
        """When keys were used last, in ms since 1970 UTC, by their digest: what processes have
        noted until about a second ago. Raises `StoreUnavailable`."""
        reply = await self._server.command(
            "ZRANGEBYSCORE", self._server.key(keyspace.KEY_USES), "-inf", "+inf", "WITHSCORES"
        )
        digests = [digest.decode() for digest in reply[::2]]
        return dict(zip(digests, (int(float(at)) for at in reply[1::2]), strict=True))

    # The copy

    async def _read(self) -> list[ApiKey]:
        """With the time, by which keys end."""
        found: list[ApiKey] = []
        await gather([read_clock(self._server), self._read_keys(found)])
        return found

    async def _read_keys(self, found: list[ApiKey]) -> None:
        reply = await self._server.command("HGETALL", self._server.key(keyspace.API_KEYS))
        found.extend(_keys_of(zip(reply[::2], reply[1::2], strict=True)))

    async def _apply(self, keys: list[ApiKey]) -> None:
        self.keyring.replace_made(keys)

    async def note_uses(self) -> None:
        """Tell the others when keys were used here. Without Redis that is lost."""
        used = self.keyring.take_used()
        if not used or self._server.problem is not None:
            return
        name = self._server.key(keyspace.KEY_USES)
        pairs: list[Argument] = [part for digest, at in used.items() for part in (at, digest)]
        try:
            await self._server.command("ZADD", name, "GT", *pairs)
            await self._server.command("ZREMRANGEBYRANK", name, 0, -MAX_USES - 1)
        except StoreUnavailable as error:
            log.debug(
                "Uses of keys were not noted: {reason}",
                reason=error.reason,
                event="keys.uses_postponed",
            )


def _keys_of(stored: Iterable[tuple[bytes, bytes]]) -> Iterable[ApiKey]:
    """What cannot be read, because another version wrote it, is no key here."""
    for name, value in stored:
        try:
            digest, scopes, created, expires = value.decode().split(" ")
            bytes.fromhex(digest)
            yield ApiKey(
                name.decode(),
                digest,
                frozenset(scopes.split(",")),
                "made",
                int(created),
                int(expires) or None,
            )
        except ValueError:
            log.error(
                "The stored key {name!r} cannot be read", name=name, event="keys.stored_unreadable"
            )


def _log_failure(failure: Failure) -> None:
    log.failure("Uses of API keys were not noted", failure, event="keys.uses_not_noted")
