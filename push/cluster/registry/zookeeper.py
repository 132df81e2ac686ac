"""The registry in ZooKeeper: ephemeral nodes `/push/<service>/<instance>`, and watches on them.

The session is what lives: when it is lost so are our nodes and watches, and the next exchange
makes both again. A watch only marks what to read again.
"""

from __future__ import annotations

from collections.abc import Coroutine, Iterable, Mapping
from contextlib import suppress
from random import Random
from typing import Any, NamedTuple, TypeVar

from kazoo.exceptions import BadVersionError, KazooException, NodeExistsError, NoNodeError
from twisted.internet.defer import Deferred, DeferredList
from twisted.logger import Logger

from push.cluster.registry.entry import Key, RegistryEntry, boot_of, encode_entry
from push.cluster.registry.interface import RegistryUnavailable
from push.cluster.registry.kazoo_client import ReactorKazoo, last_warning
from push.cluster.registry.own_entries import NameConflict
from push.cluster.registry.reconciler import ReconcilingRegistry, RegistrySnapshot
from push.cluster.registry.timing import Timing
from push.runtime.ports import Reactor
from push.runtime.timers import Debounced

log = Logger()
T = TypeVar("T")

# A refused connection is known long before; an address that answers nothing never.
FIRST_WORD_SECONDS = 1.0
# Everything is read again so often, in case a watch was lost.
SWEEP_SECONDS = 60.0


class _Written(NamedTuple):
    """One of our nodes: its data, and its version, which tells a later write that it still is."""

    data: bytes
    version: int


class ZooKeeperRegistry(ReconcilingRegistry):
    """A registry in the ensemble `hosts`: "host:port,host:port/chroot".

    `digest`: "user:password"; nodes are then made for that user alone. It may come before the
    hosts as well, as in "user:password@host:port". `options` are further arguments of kazoo's
    client, for instance for TLS; a server's name is then verified unless they say otherwise.
    """

    def __init__(
        self,
        reactor: Reactor,
        hosts: str,
        random: Random,
        timing: Timing | None = None,
        *,
        digest: str = "",
        options: Mapping[str, Any] | None = None,
    ) -> None:
        timing = timing or Timing()
        # What lives has registered again by then: its client was replaced, and made a session.
        super().__init__(reactor, random, timing, return_seconds=timing.reconnect + timing.lease)
        self._reactor: Reactor = reactor
        before, _, rest = hosts.rpartition("@")
        self._servers, _, chroot = rest.partition("/")
        self._digest = digest or before
        # Not kazoo's chroot: it must exist before, and nothing here makes it.
        self._root = "/".join(["", *filter(None, chroot.split("/")), "push"])
        self._options = dict(options or {})
        self._client: ReactorKazoo | None = None
        self._connected = False
        self._reason = "not connected yet"
        self._logged_away = False
        self._was_connected = False
        self._first_word = Debounced(reactor, FIRST_WORD_SECONDS, self._say_first_word)
        self._changed_at = reactor.seconds()  # when the connection came or went
        self._swept_at = 0.0
        self._written: dict[Key, _Written] = {}
        # What was read: names by service (None: not read yet), data by key, and what to read again.
        self._names: dict[str, set[str] | None] = {}
        self._data: dict[Key, bytes] = {}
        self._stale: set[str] = set()
        self._all_stale = True
        self._era = 0

    def start(self) -> None:
        super().start()
        self._first_word.request()

    def _open(self) -> None:
        self._changed_at = self._reactor.seconds()
        self._client = ReactorKazoo(
            self._reactor,
            self._servers,
            session_seconds=self._timing.lease,
            digest=self._digest,
            options=self._options,
            on_state=self._state_changed,
            on_watch=self._noticed,
        )
        self._client.start()

    def _require(self) -> ReactorKazoo:
        """The client; an exchange that is still on its way at the end has none."""
        if self._client is None:
            raise RegistryUnavailable("the registry was stopped")
        return self._client

    async def _ask(self, method: str, *arguments: object, **options: object) -> Any:
        """Call one of kazoo's `*_async`."""
        return await self._require().ask(method, *arguments, **options)

    # --- The session -------------------------------------------------------------------------

    def _state_changed(self, client: ReactorKazoo, is_connected: bool, is_lost: bool) -> None:
        if client is not self._client:
            return
        self._changed_at = self._reactor.seconds()
        self._connected = is_connected
        self._all_stale = True  # watches end with the connection
        self._hold_losses()
        if self._connected:
            if self._logged_away:
                log.info(
                    "ZooKeeper at {servers}: reconnected",
                    servers=self._servers,
                    event="zookeeper.reconnected",
                )
            elif not self._was_connected:
                log.info(
                    "ZooKeeper at {servers}: connected",
                    servers=self._servers,
                    event="zookeeper.connected",
                )
            self._was_connected = True
            self._logged_away = False
            self._wake()
            return
        self._reason = "the connection was lost"
        if is_lost:
            self._reason = "the session was lost"
            self._written.clear()
        self._log_away()

    def _say_first_word(self) -> None:
        """kazoo reports changes only, so not that ZooKeeper is unreachable from the start."""
        if not self._connected:
            self._reason = last_warning() or self._reason
            self._log_away()

    def _log_away(self) -> None:
        if self._logged_away:
            return
        self._logged_away = True
        log.error(
            "ZooKeeper at {servers} is unreachable: {reason}. Trying again until it is reachable.",
            servers=self._servers,
            reason=self._reason,
            event="zookeeper.unreachable",
        )

    async def _close(self) -> None:
        client, self._client = self._client, None
        self._connected = False
        self._first_word.cancel()
        if client is not None:
            await self._step_of_stop(client.start_ending())

    def _away(self) -> str | None:
        if self._connected:
            return None
        return f"ZooKeeper at {self._servers} is unreachable: {self._reason}"

    def _replace_if_dead(self) -> None:
        """A client that is offline for long might never reconnect: a server that lost its data
        refuses every client that saw more than it has; one that is just starting may accept a
        connection and never answer its request for a session, and kazoo waits a whole session time
        for that; and kazoo's thread ends permanently at some errors."""
        if self._reactor.seconds() - self._changed_at < self._timing.reconnect:
            return
        self._written.clear()
        if self._client is not None:
            self._client.start_ending()
        self._open()

    # --- The exchange ------------------------------------------------------------------------

    async def _exchange(self, own: Mapping[Key, RegistryEntry], *, fresh: bool) -> RegistrySnapshot:
        if not self._connected:
            self._replace_if_dead()
            raise RegistryUnavailable(self._away() or "")
        now = self._reactor.seconds()
        if fresh or now - self._swept_at > SWEEP_SECONDS:
            self._all_stale = True
            self._swept_at = now
        return await self._translated(self._write_and_read(own, fresh))

    async def _remove(self, entry: RegistryEntry) -> None:
        if not self._connected:
            raise RegistryUnavailable(self._away() or "")
        await self._translated(self._delete_own(entry.key))

    async def _translated(self, act: Coroutine[Any, Any, T]) -> T:
        try:
            return await act
        except KazooException as error:
            text = str(error) or type(error).__name__
            raise RegistryUnavailable(f"ZooKeeper at {self._servers}: {text}") from None

    async def _write_and_read(
        self, own: Mapping[Key, RegistryEntry], fresh: bool
    ) -> RegistrySnapshot:
        for key in [key for key in self._written if key not in own]:
            await self._delete_own(key)
        conflicts = {}
        for key, entry in own.items():
            conflict = await self._write(entry)
            if conflict is not None:
                conflicts[key] = conflict
        if fresh:
            await self._ask("sync_async", self._root)  # this server may lag behind the leader
        entries = await self._read()
        for key in own:
            if key in self._written and key not in entries:
                del self._written[key]  # somebody took it out: once more
                self._wake(self._timing.notice)
        return RegistrySnapshot(entries, conflicts, self._era)

    # --- Writing -----------------------------------------------------------------------------

    async def _write(self, entry: RegistryEntry) -> NameConflict | None:
        """Make `entry` the data of a node of our session."""
        key, data = entry.key, encode_entry(entry)
        written = self._written.get(key)
        if written is not None:
            if written.data == data:
                return None
            try:
                stat = await self._ask("set_async", self._path(*key), data, version=written.version)
            except (NoNodeError, BadVersionError):
                del self._written[key]  # no longer ours: see below
            else:
                self._wrote(entry, data, stat.version)
                return None
        return await self._create(entry, data)

    def _wrote(self, entry: RegistryEntry, data: bytes, version: int) -> None:
        """Note one of our nodes. It is read in this exchange, before any watch fires."""
        key = entry.key
        self._written[key] = _Written(data, version)
        self._stale.add(self._path(*key))
        if key not in self._data:
            self._stale.update((self._root, self._path(entry.service)))

    async def _create(self, entry: RegistryEntry, data: bytes) -> NameConflict | None:
        path = self._path(*entry.key)
        for _ in range(3):
            try:
                await self._ask("create_async", path, data, ephemeral=True, makepath=True)
            except NodeExistsError:
                try:
                    conflict = await self._settle_existing(entry, data)
                except (NoNodeError, BadVersionError):
                    continue  # it changed under our hands
                return conflict
            else:
                self._wrote(entry, data, 0)
                return None
        raise RegistryUnavailable(f"{path} changes all the time")

    async def _settle_existing(self, entry: RegistryEntry, data: bytes) -> NameConflict | None:
        """The node is there: made by us though the answer was lost, left by our own dead session,
        or another process's."""
        path = self._path(*entry.key)
        found, stat = await self._ask("get_async", path)
        session_id = self._require().session_id
        if session_id is not None and stat.ephemeralOwner == session_id:
            stat = await self._ask("set_async", path, data, version=stat.version)
            self._wrote(entry, data, stat.version)
            return None
        boot = boot_of(found)
        if boot != entry.boot:
            return NameConflict(boot, stat.mzxid)
        await self._replace(entry, data, stat.version)
        return None

    async def _replace(self, entry: RegistryEntry, data: bytes, version: int) -> None:
        """Make a node of our dead session one of this session, in one step for other
        readers. Raises `BadVersionError` when it changed meanwhile."""
        path = self._path(*entry.key)
        for outcome in await self._require().replace(path, data, version):
            if isinstance(outcome, Exception):
                raise BadVersionError from outcome
        self._wrote(entry, data, 0)

    async def _delete_own(self, key: Key) -> None:
        written = self._written.get(key)
        if written is None:
            return
        with suppress(NoNodeError, BadVersionError):  # it was not ours any more
            await self._ask("delete_async", self._path(*key), version=written.version)
        self._written.pop(key, None)
        self._data.pop(key, None)

    # --- Reading -----------------------------------------------------------------------------

    def _noticed(self, path: str | None) -> None:
        """A watch has fired; without a path, because the connection ended."""
        if path is None:
            self._all_stale = True
        else:
            self._stale.add(path)
        self._wake(self._timing.notice)

    async def _read(self) -> dict[Key, bytes]:
        # Forgotten before it is read: a watch that fires meanwhile marks it again.
        stale, self._stale = self._stale, set()
        everything, self._all_stale = self._all_stale, False
        try:
            await self._read_names(stale, everything)
            await self._read_data(stale, everything)
        except BaseException:
            self._all_stale = True
            raise
        return dict(self._data)

    async def _read_names(self, stale: set[str], everything: bool) -> None:
        if everything or self._root in stale:
            services = await self._read_root()
            self._names = {name: self._names.get(name) for name in services}
        wanted = [
            service
            for service, names in self._names.items()
            if everything or names is None or self._path(service) in stale
        ]
        found = await _all(self._children(self._path(service)) for service in wanted)
        for service, names in zip(wanted, found, strict=True):
            self._names[service] = set(names or ())

    async def _read_data(self, stale: set[str], everything: bool) -> None:
        keys = {(service, name) for service, names in self._names.items() for name in names or ()}
        wanted = [
            key for key in keys if everything or key not in self._data or self._path(*key) in stale
        ]
        found = dict(zip(wanted, await _all(self._datum(key) for key in wanted), strict=True))
        read = {key: found[key] if key in found else self._data[key] for key in keys}
        self._data = {key: raw for key, raw in read.items() if raw is not None}

    async def _read_root(self) -> list[str]:
        """The services. The root was made when the data began; that names the era."""
        options = {"watch": self._require().watch, "include_data": True}
        try:
            services, stat = await self._ask("get_children_async", self._root, **options)
        except NoNodeError:
            await self._ask("ensure_path_async", self._root)
            services, stat = await self._ask("get_children_async", self._root, **options)
        self._era = stat.czxid
        names: list[str] = services
        return names

    async def _children(self, path: str) -> list[str] | None:
        try:
            names: list[str] = await self._ask(
                "get_children_async", path, watch=self._require().watch
            )
        except NoNodeError:
            return None
        return names

    async def _datum(self, key: Key) -> bytes | None:
        """A node's data; None when it is gone (of which its parent's watch tells as well)."""
        try:
            raw, _ = await self._ask("get_async", self._path(*key), watch=self._require().watch)
        except NoNodeError:
            return None
        return bytes(raw)

    def _path(self, *names: str) -> str:
        return "/".join([self._root, *names])


async def _all(acts: Iterable[Coroutine[Any, Any, T]]) -> list[T]:
    """The results of all, which run side by side; the first failure once all have ended."""
    outcomes: list[tuple[bool, Any]] = await DeferredList(
        [Deferred.fromCoroutine(act) for act in acts], consumeErrors=True
    )
    for succeeded, outcome in outcomes:
        if not succeeded:
            outcome.raiseException()
    return [outcome for _, outcome in outcomes]
