"""Erasing a user: their devices, memberships, conversations, and all that waits for them.

That a user is to be erased is kept in `erasing`, on the user's server, until all of it is done.
Every step may be repeated. So the daemon that began it may be killed, or another server be
unreachable: any daemon continues.
"""

from __future__ import annotations

import contextlib
from typing import Any

from twisted.logger import Logger

from push.chat.actions import Acting
from push.chat.conversation_id import with_user
from push.chat.groups import Groups
from push.chat.outbox import UserOutbox
from push.chat.settings import CLIENT_ID_SECONDS
from push.devices.registration import Devices, check_user_id
from push.devices.session_queries import Filter, SessionQueries
from push.redis import keyspace
from push.redis.client import RedisClient
from push.redis.connection.errors import StoreUnavailable
from push.redis.periodic import PeriodicTask
from push.redis.scripts import Script, load_script
from push.redis.work_queue import WorkQueue
from push.runtime.ports import Clock
from push.runtime.tasks import gather
from push.wire.api.connections import KickResult
from push.wire.errors import RequestError
from push.wire.idents import GROUP_PREFIX, USER_PREFIX, user_stream

log = Logger()

PART = 100  # messages that one call looks through
LOOK_SECONDS = 5.0
USERS_PER_LOOK = 10
PAUSE_MS = 10_000  # the daemon that was asked to erase a user has so long to do it

_begin = load_script("chat", "erase_begin")
_erase_stream = load_script("chat", "erase_stream")
_erase_from = load_script("chat", "erase_from")
_erase_copies = load_script("chat", "erase_copies")
_forget_sent = load_script("chat", "forget_sent")
QUEUE = WorkQueue("erasing", claimed_ms=10_000, pause_ms=PAUSE_MS)


class _AllIsDone(Exception):
    """Another has erased the user."""


class Erasure:
    """Erases users, wherever what is theirs is kept."""

    def __init__(
        self,
        acting: Acting,
        outbox: UserOutbox,
        groups: Groups,
        devices: Devices,
        session_queries: SessionQueries,
    ) -> None:
        self._acting = acting
        self._shards = acting.shards
        self._outbox = outbox
        self._groups = groups
        self._devices = devices
        self._session_queries = session_queries

    async def erase(self, user: str) -> list[str]:
        """Nothing of the user is left; sessions without a device are ended. Returns the nodes that
        could not be asked for such.

        Raises `RequestError` `invalid`, `not_found` (there is nothing of this user);
        `StoreUnavailable`: then a part of it is done, and the rest will be.
        """
        check_user_id(user)
        (found,) = await self._acting.run(self._home(user), _begin, {"user": user})
        if found:
            return await self.go_on(user)
        kicked = await self._kick(user)
        if not kicked.kicked:
            raise RequestError("not_found", f"there is nothing of a user {user}")
        return kicked.silent

    async def go_on(self, user: str) -> list[str]:
        """Do what is left to do for a user that is being erased. Raises `StoreUnavailable`."""
        silent: set[str] = set()
        with contextlib.suppress(_AllIsDone):
            # Earlier errands for the user that are not done yet.
            await gather(self._outbox.run_of(server, user) for server in self._shards)
            await self._hold(user)
            silent = await self._end_all(user)
            await self._do_all(user)
            home = self._home(user)
            await home.command("ZREM", home.key(keyspace.ERASING), user)
        return sorted(silent)

    async def _end_all(self, user: str) -> set[str]:
        """No session is the user's any more, so that nothing new of them comes to be.

        Returns the nodes that did not confirm it; all are asked at the same time.
        """
        tokens = await self._devices.tokens_of(user)
        kicked, unbound = self._end_sessions(user), self._devices.unbind_all(user, tokens)
        silent = await gather([kicked, unbound])
        return {node for nodes in silent for node in nodes}

    async def _end_sessions(self, user: str) -> list[str]:
        return (await self._kick(user)).silent

    async def _kick(self, user: str) -> KickResult:
        """Sessions without a device, of which there is no record, end. Their clients do not
        reconnect."""
        return await self._session_queries.kick(Filter(user=user, without_token=True))

    async def _do_all(self, user: str) -> None:
        """All that is to be done, step by step. Raises `_AllIsDone`: another was faster."""
        for stream in await self._acting.group_streams_of(user):
            await self._hold(user)
            await self._leave(user, stream.removeprefix(GROUP_PREFIX))
        for peer in await self._peers_of(user):
            await self._hold(user)
            await self._erase_conversation(user, peer)
        await self._hold(user)
        await self._erase_stream(user)

    async def _hold(self, user: str) -> None:
        """Nobody else goes on with it for a while. Raises `_AllIsDone` when nothing is to be done
        any more: then the user may exist again."""
        home = self._home(user)
        key = home.key(keyspace.ERASING)
        await home.command("ZADD", key, "XX", home.clock.now_ms(), user)
        if await home.command("ZSCORE", key, user) is None:
            raise _AllIsDone

    def _home(self, user: str) -> RedisClient:
        return self._shards.of(user_stream(user))

    async def _leave(self, user: str, group: str) -> None:
        stream = GROUP_PREFIX + group
        request = {"owner": stream, "user": user, "seconds": CLIENT_ID_SECONDS}
        await self._in_parts(self._shards.of(stream), _forget_sent, request, "before")
        version = await self._shards.of(stream).last_offset()
        if not await self._groups.let_go_of_erased(group, user):
            # The group does not know them, but their record names it.
            await self._outbox.end_following(user, stream, version)

    async def _peers_of(self, user: str) -> list[str]:
        """The users that the user has a conversation of two with."""
        home = self._home(user)
        listed = await home.command(
            "ZRANGEBYSCORE", home.key(f"{keyspace.CONVERSATIONS}{user}"), "-inf", "+inf"
        )
        copied = await home.command("HKEYS", home.key(f"{keyspace.COPIED}{user}"))
        names = sorted({name.decode() for name in (*listed, *copied)})
        return [name.removeprefix(USER_PREFIX) for name in names]

    async def _erase_conversation(self, user: str, peer: str) -> None:
        owner = with_user(user, peer).owner
        request = {"owner": owner, "user": user, "id": self._acting.next_id()}
        await self._in_parts(self._shards.of(owner), _erase_from, request, "after")
        request = {"user": peer, "from": user}
        await self._in_parts(self._home(peer), _erase_copies, request, "after")

    async def _erase_stream(self, user: str) -> None:
        left = 1
        while left:
            request = {"user": user, "limit": PART}
            (left,) = await self._acting.run(self._home(user), _erase_stream, request)

    async def _in_parts(
        self, server: RedisClient, script: Script, request: dict[str, Any], place: str
    ) -> None:
        """Run a script that answers where it is to go on, until it says ''."""
        going_on = b""
        while True:
            request = {**request, place: going_on.decode(), "limit": PART}
            (going_on,) = await self._acting.run(server, script, request)
            if not going_on:
                return


class ErasureRunner(PeriodicTask):
    """Continues the erasure of users of one server that was not completed."""

    def __init__(self, reactor: Clock, server: RedisClient, erasure: Erasure) -> None:
        super().__init__(reactor, server, LOOK_SECONDS, "Users could not be erased")
        self._erasure = erasure

    async def do_due(self) -> None:
        for user in await QUEUE.claim(self._server, USERS_PER_LOOK):
            try:
                await self._erasure.go_on(user.decode())
            except (StoreUnavailable, RequestError) as error:
                log.debug(
                    "A user is not erased yet; tried again: {error}",
                    error=str(error),
                    event="chat.erasure_postponed",
                )
