"""One Redis server: a connection for commands, one for subscriptions, and its clock."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import txredisapi
from twisted.internet.defer import Deferred
from twisted.logger import Logger

from push.store.address import RedisAddress
from push.store.clock import MICROSECONDS, ServerClock
from push.store.connection import CommandProtocol, SubscriberProtocol
from push.store.errors import StoreUnavailable
from push.store.link import Link
from push.store.scripts import Script
from push.store.subscriptions import Handler, Subscriptions

log = Logger()

Argument = bytes | str | int

ATTEMPTS = 3  # one for each reason to try again

# Answers that say "not now" rather than "you are wrong"; also found inside a script's error.
_TEMPORARY = (
    "LOADING",
    "MISCONF",
    "READONLY",
    "OOM",
    "BUSY",
    "NOREPLICAS",
    "MASTERDOWN",
    "CLUSTERDOWN",
    "TRYAGAIN",
)


class RedisServer:
    """Calls to one server. Every call fails at once while it is away (`StoreUnavailable`).

    `prefix` begins every key and channel; channels carry the database number as well, because
    pub/sub knows no databases. `on_restored` is called when messages may have been missed: one of
    the connections is new, both work, and everything that was wanted is heard again.
    """

    def __init__(
        self,
        reactor: Any,
        address: RedisAddress,
        *,
        prefix: str = "push",
        timeout_seconds: float = 5.0,
    ) -> None:
        self.address = address
        self.timeout_seconds = timeout_seconds
        self.clock = ServerClock(reactor.seconds)
        self.subscriptions = Subscriptions(reactor)
        self._reactor = reactor
        self._key_prefix = f"{prefix}:"
        self._channel_prefix = f"{prefix}:{address.database}:".encode()
        self._clock_key = self.key("clock")
        self._scripts: dict[str, Script] = {}
        self._restored: list[Callable[[], None]] = []
        self._commands: Link[CommandProtocol] = Link(
            reactor,
            address,
            lambda lost: CommandProtocol(reactor.seconds, lost),
            self._prepare_commands,
            purpose="commands",
            timeout_seconds=timeout_seconds,
            on_up=self._tell_if_restored,
        )
        self._subscriber: Link[SubscriberProtocol] = Link(
            reactor,
            address,
            lambda lost: SubscriberProtocol(reactor.seconds, lost, self.subscriptions.message),
            self.subscriptions.restore,
            purpose="subscriptions",
            timeout_seconds=timeout_seconds,
            on_up=self._tell_if_restored,
            on_down=self.subscriptions.lost,
        )

    def start(self) -> None:
        self._commands.start()
        self._subscriber.start()

    async def stop(self) -> None:
        self.subscriptions.stop()
        await self._commands.stop()
        await self._subscriber.stop()

    @property
    def problem(self) -> str | None:
        """Why the server cannot be used now, in a sentence; None when it can."""
        for link in (self._commands, self._subscriber):
            if link.speaker is None:
                return f"Redis at {self.address} is away: {link.reason}"
        return None

    def on_restored(self, callback: Callable[[], None]) -> None:
        self._restored.append(callback)

    def key(self, name: str) -> str:
        return self._key_prefix + name

    def channel(self, name: str) -> bytes:
        return self._channel_prefix + name.encode()

    def hear(self, name: str, handler: Handler) -> Deferred[None]:
        """Hear the channel `name`: see `Subscriptions.want`."""
        return self.subscriptions.want(self.channel(name), handler)

    def unhear(self, name: str) -> None:
        self.subscriptions.drop(self.channel(name))

    def rebuild(self, reason: str) -> None:
        """Distrust both connections: they are made anew (design, rule 3)."""
        self._commands.rebuild(reason)
        self._subscriber.rebuild(reason)

    async def command(self, *command: Argument) -> Any:
        """One Redis command; keys in it are whole keys (`key()`)."""
        speaker = self._commands.require()
        try:
            return await speaker.call(*command)
        except txredisapi.RedisError as error:
            raise self._translated(error) from None

    async def last_offset(self) -> int:
        """The last offset that the server gave to any stream, in microseconds."""
        return int(await self.command("GET", self._clock_key) or 0)

    async def run(self, script: Script, keys: Sequence[str], arguments: Sequence[Argument]) -> Any:
        """Run a script by its hash; KEYS[1] is the server's clock, `keys` come after it.

        The script does nothing once this call's time-out has passed by the server's clock (design,
        rule 10), so that a call that was refused cannot take effect later than its caller waits.
        """
        if script.sha not in self._scripts:
            # Not waited for: the first call goes out behind it, in its place among the others.
            Deferred.fromCoroutine(self._load(script)).addErrback(lambda _: None)
        for _ in range(ATTEMPTS):
            try:
                return await self._evaluate(script, keys, arguments)
            except txredisapi.RedisError as error:
                text = str(error)
                if text.startswith("NOSCRIPT"):
                    await self._load(script)  # somebody flushed the scripts
                elif text.startswith("LATE "):
                    # Too late by the server's clock, though not by ours: it was set forward, or
                    # we have not heard it for long. Now we know it.
                    self.clock.observe(int(text.split()[1]))
                else:
                    raise self._translated(error) from None
        raise StoreUnavailable(f"Redis at {self.address} did not run {script.name} in time")

    def _evaluate(
        self, script: Script, keys: Sequence[str], arguments: Sequence[Argument]
    ) -> Deferred[Any]:
        speaker = self._commands.require()
        floor_us = self.clock.now_us()
        deadline_us = floor_us + int(self.timeout_seconds * MICROSECONDS)
        return speaker.call(
            b"EVALSHA",
            script.sha,
            1 + len(keys),
            self._clock_key,
            *keys,
            *arguments,
            floor_us,
            deadline_us,
        )

    async def _load(self, script: Script) -> None:
        self._scripts[script.sha] = script
        await self.command("SCRIPT", "LOAD", script.source)

    async def _prepare_commands(self, speaker: CommandProtocol) -> None:
        for script in self._scripts.values():
            await speaker.call("SCRIPT", "LOAD", script.source)
        seconds, microseconds = await speaker.call("TIME")
        stored = await speaker.call("GET", self._clock_key)
        self.clock.observe(int(seconds) * 1_000_000 + int(microseconds))
        self.clock.observe(int(stored or 0))

    def _tell_if_restored(self) -> None:
        if self.problem is not None:
            return  # the other connection tells
        for callback in self._restored:
            callback()

    def _translated(self, error: txredisapi.RedisError) -> Exception:
        """Our exception for txredisapi's; an error that is our own fault stays what it is."""
        text = str(error)
        if isinstance(error, txredisapi.ConnectionError):
            return StoreUnavailable(f"Redis at {self.address} went away: {text}", unknown=True)
        if any(word in text for word in _TEMPORARY):
            return StoreUnavailable(f"Redis at {self.address} cannot now: {text}")
        own_fault: Exception = error
        return own_fault
