"""What an act means for users on other servers (architecture, rule 13; for_user.lua).

An errand is a msgpack list of texts: kind, user, version, arguments. Those of one user are done in
their order. Doing one twice, or late, changes nothing, but that a message may come twice.

Where there is one server, only the members of a large new group are let in by errands.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import msgspec
from twisted.logger import Logger

from push.chat.actions import ChatScripts
from push.devices.outbox import REMOVED, SubscriptionChange
from push.devices.outbox import Outbox as DeviceOutbox
from push.redis import keyspace
from push.redis.client import RedisClient
from push.redis.connection.errors import StoreUnavailable
from push.redis.periodic import PeriodicTask
from push.redis.scripts import load_script
from push.redis.work_queue import WorkQueue
from push.runtime.owner_queue import FairSemaphore
from push.runtime.ports import Clock
from push.runtime.tasks import gather
from push.wire.idents import user_stream

log = Logger()

USERS_AT_A_TIME = 32
LET_IN = "let_in"  # for some members of a new group; all other kinds are for one user
LOOK_SECONDS = 1.0
ERRANDS_PER_LOOK = 100
ERRANDS_OF_USER = 1000
PAUSE_MS = 1000  # the daemon that wrote an errand down has so long to do it

QUEUE = WorkQueue("chat-errands", claimed_ms=10_000, pause_ms=PAUSE_MS)

_user_errand = load_script("chat", "user_errand")
_copy = load_script("chat", "copy")
_let_in = load_script("chat", "let_in")
_errands_of = load_script("chat", "errands_of")
_encode = msgspec.json.Encoder().encode
_decode = msgspec.msgpack.Decoder(list[str]).decode


class _Errand(NamedTuple):
    text: bytes
    kind: str
    user: str
    version: str
    arguments: list[str]


class UserOutbox:
    """Does what the scripts of one server have written down for users of others."""

    def __init__(self, scripts: ChatScripts, devices: DeviceOutbox) -> None:
        self._scripts = scripts
        self._shards = scripts.shards
        self._devices = devices
        self._turns = FairSemaphore(USERS_AT_A_TIME)
        # Of all groups, so that Redis has time for others between; by the user that makes them.
        self._letting_in = FairSemaphore(1)

    async def run(self, server: RedisClient, texts: Sequence[bytes]) -> None:
        """Do errands that are written down on `server`. Raises `StoreUnavailable`."""
        by_user: dict[str, list[_Errand]] = {}
        for text in texts:
            kind, user, version, *arguments = _decode(text)
            errand = _Errand(text, kind, user, version, arguments)
            if kind == LET_IN:
                await self._let_in(server, errand)
            else:
                by_user.setdefault(user, []).append(errand)
        act = object()  # what one act means for users waits for itself, and not the others for it
        await gather(self._do_all(server, act, outbox) for outbox in by_user.values())

    async def _let_in(self, server: RedisClient, errand: _Errand) -> None:
        group, by, id, offset, *users = errand.arguments
        request = {"group": group, "by": by, "id": id, "offset": offset, "users": users}
        async with self._letting_in.turn(by):
            errands, *_ = await self._scripts.ask(server, _let_in, request)
        await self.run(server, errands)
        await self._done(server, errand)

    async def _done(self, server: RedisClient, errand: _Errand) -> None:
        await server.command("ZREM", server.key(keyspace.CHAT_ERRANDS), errand.text)

    async def _do_all(self, server: RedisClient, act: object, outbox: Iterable[_Errand]) -> None:
        async with self._turns.turn(act):
            for errand in outbox:
                if errand.kind == "copy":
                    await self._copy(server, errand)
                else:
                    await self._do(errand)
                await self._done(server, errand)

    async def _do(self, errand: _Errand) -> None:
        request = {
            "kind": errand.kind,
            "user": errand.user,
            "version": errand.version,
            "arguments": errand.arguments,
        }
        home = self._shards.of(user_stream(errand.user))
        _, *values = await self._scripts.ask(home, _user_errand, request)
        if errand.kind in ("follow", "unfollow"):
            last, tokens = values
            await self._change_devices(home, errand, last, [token.decode() for token in tokens])

    async def _change_devices(
        self, home: RedisClient, errand: _Errand, last: bytes, tokens: Sequence[str]
    ) -> None:
        """The user's devices follow a group or not, as `last` says; or after that, meanwhile.

        Not those that belong to another user by now, who may be in the group.
        """
        stream = errand.arguments[0]
        done = b""
        while last != done:
            version, verb, detail = last.decode().split(" ")
            change = (
                SubscriptionChange(stream, begin=detail)
                if verb == "follow"
                else SubscriptionChange(stream, code=detail, ended=version)
            )
            await gather(self._devices.change(token, [change], errand.user) for token in tokens)
            done = last
            key = home.key(f"{keyspace.USER_STREAM_VERSIONS}{errand.user}")
            last = await home.command("HGET", key, stream)

    async def _copy(self, server: RedisClient, errand: _Errand) -> None:
        """Copy a message of a conversation of two, after those before it, into a user's stream."""
        owner, last = errand.arguments[0], int(errand.arguments[1])
        begin = await self._begin(server, owner, errand.user)
        if begin is None or last < begin:
            return  # the conversation ended, or the user was erased
        to = _encode({"users": owner.removeprefix("chat:").split(",")}).decode()
        seq, back = last, 0
        while seq <= last:
            request: dict[str, Any] = {"user": errand.user, "owner": owner, "seq": seq, "to": to}
            request |= {"begin": begin, "back": bool(back)}
            found = await server.command(
                "XRANGE", server.key(f"{keyspace.HISTORY}{owner}"), f"{seq}-0", f"{seq}-0"
            )
            if found:  # else it was recalled, or is kept no longer
                fields = found[0][1]
                texts = [field.decode() for field in fields]
                request["message"] = dict(zip(texts[::2], texts[1::2], strict=True))
            home = self._shards.of(user_stream(errand.user))
            # The seq that was copied last, and whether the one before it is wanted first.
            _, copied, back = await self._scripts.ask(home, _copy, request)
            seq = seq - 1 if back else int(copied) + 1

    async def _begin(self, server: RedisClient, owner: str, user: str) -> int | None:
        """The first seq of a conversation that is for this user; None: there is no conversation."""
        key = server.key(f"{keyspace.CONVERSATION}{owner}")
        seq, begin, own = await server.command("HMGET", key, "seq", "begin", f"begin:{user}")
        return None if seq is None else int(own or begin or 1)

    async def run_of(self, server: RedisClient, user: str) -> None:
        """Do all that is written down on `server` for a user and their devices.

        Raises `StoreUnavailable`.
        """
        request = {"user": user, "limit": ERRANDS_OF_USER}
        more = True
        while more:
            _, for_user, for_devices = await self._scripts.ask(server, _errands_of, request)
            await self.run(server, for_user)
            await self._devices.run(server, for_devices)
            more = max(len(for_user), len(for_devices)) >= ERRANDS_OF_USER

    async def end_following(self, user: str, stream: str, version: int) -> None:
        """The user and their devices do not follow a group, unless they joined after `version`, an
        offset of the group's server."""
        await self._do(_Errand(b"", "unfollow", user, str(version), [stream, REMOVED]))


class UserOutboxRelay(PeriodicTask):
    """Does the errands of one server that were left undone."""

    def __init__(self, reactor: Clock, server: RedisClient, outbox: UserOutbox) -> None:
        super().__init__(reactor, server, LOOK_SECONDS, "Chat effects for users were not done")
        self._outbox = outbox

    async def do_due(self) -> None:
        async for due in QUEUE.claim_all(self._server, ERRANDS_PER_LOOK):
            try:
                await self._outbox.run(self._server, due)
            except StoreUnavailable as error:
                log.debug(
                    "Chat effects for users are not done yet; tried again: {reason}",
                    reason=error.reason,
                    event="chat.outbox_postponed",
                )
                await self._give_back(due)
                return

    async def _give_back(self, texts: Sequence[bytes]) -> None:
        """They are not ours any more: those that were not done are due again soon."""
        now_ms = self._server.clock.now_ms()
        for text in texts:
            await self._server.command(
                "ZADD", self._server.key(keyspace.CHAT_ERRANDS), "XX", now_ms, text
            )
