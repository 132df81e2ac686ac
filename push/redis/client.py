"""One Redis server: its connections for commands and for subscriptions, and its clock."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import txredisapi
from twisted.internet.defer import Deferred
from twisted.logger import Logger
from twisted.python.failure import Failure

from push.redis import keyspace
from push.redis.checks import check_master, check_server, permitted
from push.redis.clock import MICROSECONDS, ServerClock
from push.redis.connection.availability import Availability
from push.redis.connection.errors import StoreUnavailable, UnsuitableServer, translated
from push.redis.connection.measures import RedisMeasures
from push.redis.connection.patient_calls import PatientCalls
from push.redis.connection.protocols import CommandProtocol, SubscriberProtocol
from push.redis.connection.replication import ReplicaAcks
from push.redis.connection.replies import Answer, Argument, Decode, as_it_is, unpacked
from push.redis.connection.sentinel import Sentinels
from push.redis.connection.subscribed_channels import SubscribedChannels
from push.redis.connection.supervised import SupervisedConnection
from push.redis.connection.url import RedisAddress, SentinelAddress, StoreAddress
from push.redis.identity import Deployment
from push.redis.replayed_writes import Replay, ReplayedWrites
from push.redis.scripts import Script, load
from push.runtime.ports import Clock, TrustRoot
from push.runtime.timers import Periodic

log = Logger()

ATTEMPTS = 3  # one for each reason to try again
RECHECK_SECONDS = 30.0
CONFIRM_SECONDS = 1.0  # while it waits, no other durable write is answered


class RedisClient:
    """Calls to one server. While it is unreachable every call fails at once (`StoreUnavailable`).

    With a `SentinelAddress` it is the master of the moment, which all connections follow; there is
    a third then, for what must be on a replica before it is answered.

    `prefix` begins every key and channel; channels carry the database number as well, because
    pub/sub knows no databases. `on_restored` is called when messages may have been missed: one of
    the connections is new, all work, and all wanted channels are subscribed again.

    It must be number `number` of `deployment`, when that is given.
    """

    def __init__(
        self,
        reactor: Clock,
        address: StoreAddress,
        *,
        prefix: str = "push",
        timeout_seconds: float = 5.0,
        trust_root: TrustRoot | None = None,
        deployment: Deployment | None = None,
        number: int = 0,
    ) -> None:
        self.address = address
        self.is_replicated = isinstance(address, SentinelAddress)
        self.timeout_seconds = timeout_seconds
        self.clock = ServerClock(reactor.seconds)
        self.measures = RedisMeasures()
        self.patient_calls = PatientCalls(reactor, self.measures)
        self.reactor = reactor
        self._key_prefix = f"{prefix}:"
        self._channel_prefix = f"{prefix}:{address.database}:".encode()
        self.channels = SubscribedChannels(reactor, self._channel_prefix)
        self._clock_key = self.key(keyspace.CLOCK)
        self._check_channel = self.channel("check")
        self._deployment = deployment
        self._number = number
        self._server_notes: list[str] = []
        self._replica_acks: ReplicaAcks | None = None
        self._rechecks = Periodic(reactor, RECHECK_SECONDS, self._recheck, _log_failure)
        self._scripts: dict[str, Script] = {}
        self._restored: list[Callable[[], None]] = []
        self._trust_root = trust_root
        self._sentinels = self._make_sentinels()
        self._availability = Availability(reactor, str(address), self._is_without_master)
        self._commands = self._make_commands("commands", self._prepare_commands)
        self._subscriber = self._make_subscriber()
        # WAIT stalls its connection: calls that only read, or need no replica, do not go there.
        self._durable = self._commands
        if self._sentinels is not None:
            self._durable = self._make_commands("durable writes", self._prepare_durable)
        self._connections: list[
            SupervisedConnection[CommandProtocol] | SupervisedConnection[SubscriberProtocol]
        ] = [self._commands, self._subscriber]
        if self._durable is not self._commands:
            self._connections.append(self._durable)
        self.replayed = ReplayedWrites(reactor, self)

    def _make_sentinels(self) -> Sentinels | None:
        if not isinstance(self.address, SentinelAddress):
            return None
        return Sentinels(
            self.reactor,
            self.address,
            timeout_seconds=self.timeout_seconds,
            moved=self._moved,
            trust_root=self._trust_root,
        )

    def _make_commands(
        self, purpose: str, prepare: Callable[[CommandProtocol], Awaitable[None]]
    ) -> SupervisedConnection[CommandProtocol]:
        measured = self.measures.answered
        return SupervisedConnection(
            self.reactor,
            self._locate,
            lambda lost: CommandProtocol(self.reactor.seconds, lost, measured),
            prepare,
            name=str(self.address),
            purpose=purpose,
            timeout_seconds=self.timeout_seconds,
            trust_root=self._trust_root,
            availability=self._availability,
            on_up=self._notify_if_restored,
        )

    def _make_subscriber(self) -> SupervisedConnection[SubscriberProtocol]:
        handlers = self.channels.handlers
        return SupervisedConnection(
            self.reactor,
            self._locate,
            lambda lost: SubscriberProtocol(self.reactor.seconds, lost, handlers),
            self._prepare_subscriber,
            name=str(self.address),
            purpose="subscriptions",
            timeout_seconds=self.timeout_seconds,
            trust_root=self._trust_root,
            availability=self._availability,
            on_up=self._notify_if_restored,
            on_down=self.channels.lost,
        )

    def start(self) -> None:
        if self._sentinels is not None:
            self._sentinels.start()
        self._availability.start()
        for connection in self._connections:
            connection.start()
        self._rechecks.start()

    async def stop(self) -> None:
        self._rechecks.stop()
        self.patient_calls.stop()
        self._availability.stop()
        self.replayed.stop()
        if self._replica_acks is not None:
            self._replica_acks.stop()
        self.channels.stop()
        for connection in self._connections:
            await connection.stop()
        if self._sentinels is not None:
            await self._sentinels.stop()

    @property
    def problem(self) -> str | None:
        """Why the server cannot be used now, in a sentence; None when it can."""
        for connection in self._connections:
            if connection.protocol is None:
                return connection.problem
        return None

    @property
    def notes(self) -> list[str]:
        """What an operator could make safer while the server can be used, in sentences."""
        notes = list(self._server_notes)
        if self._sentinels is not None and self._sentinels.problem:
            notes.append(f"a fail-over could not be followed: {self._sentinels.problem}")
        return [f"Redis at {self.address}: {note}" for note in notes]

    def on_restored(self, callback: Callable[[], None]) -> None:
        self._restored.append(callback)

    def key(self, name: str) -> str:
        return self._key_prefix + name

    def channel(self, name: str) -> bytes:
        return self._channel_prefix + name.encode()

    @property
    def is_subscribed(self) -> bool:
        """Whether all wanted channels are subscribed."""
        return self._subscriber.protocol is not None

    def is_silent(self, seconds: float) -> bool:
        """Whether it has been asked something and has said nothing for so long."""
        protocols = (self._commands.protocol, self._durable.protocol)
        return any(each is not None and each.silent_seconds() > seconds for each in protocols)

    def rebuild(self, reason: str) -> None:
        """Distrust all connections: new ones are made (architecture, rule 3)."""
        for connection in self._connections:
            connection.rebuild(reason)

    async def command(self, *command: Argument) -> Any:
        """One Redis command; keys in it are whole keys (`key()`)."""
        protocol = self._commands.require()
        try:
            return await protocol.call(*command)
        except txredisapi.RedisError as error:
            raise self.as_our_error(str(error), error) from None

    def flush(self) -> None:
        """Send now what was asked for in this turn."""
        for connection in (self._commands, self._durable):
            if connection.protocol is not None:
                connection.protocol.flush()

    async def last_offset(self) -> int:
        """The last offset that the server gave to any stream, in microseconds."""
        return int(await self.command("GET", self._clock_key) or 0)

    async def run(
        self,
        script: Script,
        keys: Sequence[str],
        arguments: Sequence[Argument],
        *,
        durable: bool = False,
        decode: Decode[Answer] = as_it_is,
        replay: Replay | None = None,
    ) -> Answer:
        """Run a script by its hash; KEYS[1] is the server's clock, `keys` come after it. Returns
        what `decode` makes of the reply.

        The script does nothing once this call's time-out has passed by the server's clock
        (architecture, rule 10): what was refused cannot take effect later than its caller waits.

        `durable`: of a master with replicas, answered once one of them has what was written and all
        that was written before (architecture, rule 11). `replay`, without `keys`: see `Replay`.
        """
        if replay is not None and self.is_replicated:
            return decode(await self.replayed.run(script, arguments, replay))
        if script.sha not in self._scripts:
            # Not waited for: the first call follows it, in its place among the others.
            Deferred.fromCoroutine(self._load(script)).addErrback(lambda _: None)
        for _ in range(ATTEMPTS):
            try:
                protocol = (self._durable if durable else self._commands).require()
                floor_us = self.clock.now_us()
                deadline_us = floor_us + int(self.timeout_seconds * MICROSECONDS)
                begin = b"EVALSHA", script.sha, 1 + len(keys), self._clock_key
                end = floor_us, deadline_us, self._channel_prefix  # see prelude.lua
                answer = protocol.call(*begin, *keys, *arguments, *end)
                replicas = self._replica_acks if durable else None
                confirmed = None if replicas is None else replicas.start_confirming()
                reply = await answer
            except txredisapi.RedisError as error:
                text = str(error)
                if text.startswith("NOSCRIPT"):
                    await self._load(script)  # somebody flushed the scripts
                elif text.startswith("LATE "):
                    # By its clock, not by ours: it was set forward, or has long been silent.
                    self.clock.observe(int(text.split()[1]))
                else:
                    raise self.as_our_error(script.explain(text), error) from None
            else:
                if confirmed is not None and not await confirmed:
                    reason = f"Redis at {self.address} does not have it on its replicas yet"
                    raise StoreUnavailable(reason, unknown=True)
                return decode(unpacked(reply) if script.is_packed else reply)
        raise StoreUnavailable(f"Redis at {self.address} did not run {script.name} in time")

    @property
    def connections(self) -> tuple[object, ...]:
        """While they are the same, all calls go to the same master."""
        return self._commands.protocol, self._durable.protocol

    async def is_on_replicas(self) -> bool:
        """Whether replicas have all that the master has answered until now."""
        acks, same = self._replica_acks, self._commands.where == self._durable.where
        return acks is not None and same and await acks.start_confirming()

    async def _load(self, script: Script) -> None:
        self._scripts[script.sha] = script
        try:
            await load(self._commands.require(), script)
        except txredisapi.RedisError as error:
            raise self.as_our_error(str(error), error) from None

    # The connections

    async def _locate(self) -> RedisAddress:
        if self._sentinels is not None:
            return await self._sentinels.locate()
        assert isinstance(self.address, RedisAddress)
        return self.address

    def _is_without_master(self) -> bool:
        return self._sentinels is not None and bool(self._sentinels.problem)

    def _moved(self, master: RedisAddress) -> None:
        """There is a new master: connections to another one, or attempts at such, end."""
        for connection in self._connections:
            if connection.where not in (None, master):
                connection.rebuild(f"the master is {master} now")

    async def _prepare_commands(self, protocol: CommandProtocol) -> None:
        if self._sentinels is not None:
            await check_master(protocol.call)
        await self._check(protocol)
        await self._identify(protocol)
        await self._load_all(protocol)
        seconds, microseconds = await protocol.call("TIME")
        stored = await protocol.call("GET", self._clock_key)
        self.clock.observe(int(seconds) * 1_000_000 + int(microseconds))
        self.clock.observe(int(stored or 0))

    async def _prepare_durable(self, protocol: CommandProtocol) -> None:
        await check_master(protocol.call)
        await permitted(protocol.call("WAIT", 0, 1))
        await self._identify(protocol)
        await self._load_all(protocol)
        patience_ms = int(min(CONFIRM_SECONDS, self.timeout_seconds / 2) * 1000)
        key = self.key(keyspace.CONFIRMED)
        self._replica_acks = ReplicaAcks(self.reactor, protocol, key, patience_ms)

    async def _identify(self, protocol: CommandProtocol) -> None:
        if self._deployment is not None:
            key = self.key(keyspace.SHARD)
            await self._deployment.check(protocol.call, key, self._clock_key, self._number)

    async def _load_all(self, protocol: CommandProtocol) -> None:
        for script in self._scripts.values():
            await load(protocol, script)

    async def _prepare_subscriber(self, protocol: SubscriberProtocol) -> None:
        if self._sentinels is not None:
            await check_master(protocol.call)
        # It stays: so the server knows that there is somebody (`pushctl reshard` asks).
        await permitted(protocol.call(b"SUBSCRIBE", self._check_channel))
        await self.channels.restore(protocol)

    async def _check(self, protocol: CommandProtocol) -> None:
        notes = await check_server(
            protocol.call,
            self.key(keyspace.CHECK),
            self._check_channel,
            replicated=self._sentinels is not None,
        )
        for note in notes:
            if note not in self._server_notes:
                log.warn(
                    "Redis at {name}: {note}", name=str(self.address), note=note, event="redis.note"
                )
        self._server_notes = notes

    async def _recheck(self) -> None:
        """Settings can be changed while it runs, for the better and for the worse."""
        protocol = self._commands.protocol
        if protocol is None:
            return
        try:
            await self._check(protocol)
            await self._identify(protocol)
        except (UnsuitableServer, StoreUnavailable) as error:
            self._commands.rebuild(error if isinstance(error, UnsuitableServer) else error.reason)
        except txredisapi.RedisError as error:
            log.debug("Redis not checked: {error}", error=error, event="redis.check_postponed")

    def _notify_if_restored(self) -> None:
        if self.problem is not None:
            return  # the other connection tells
        self.measures.restored += 1
        self._availability.all_up()
        for callback in self._restored:
            callback()

    def as_our_error(self, text: str, error: txredisapi.RedisError) -> Exception:
        """Our exception for txredisapi's; an error that is our own fault keeps its class."""
        ours = translated(text, error, str(self.address))
        self.measures.failed_calls += isinstance(ours, StoreUnavailable)
        if "READONLY" in text:
            self.rebuild("it has become a replica")  # where the master is now is looked up again
        return ours


def _log_failure(failure: Failure) -> None:
    log.failure("Redis could not be checked", failure=failure, event="redis.check_failed")
