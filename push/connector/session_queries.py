"""A connector's answers about its sessions: which there are, ending them, handing them a message.

They are looked through a slice at a time, so that one question about all of 100,000 sessions does
not stop heartbeats and messages meanwhile.
"""

from __future__ import annotations

import heapq
from collections import OrderedDict
from collections.abc import Mapping
from typing import Protocol

import msgspec

from push.cluster.survey import SurveyHandler
from push.connector.delivery.fanout import FanOut
from push.connector.sessions.device_session import DeviceSession
from push.connector.sessions.matching import KICKED_REASON, test_of
from push.devices.session_queries import (
    KICK,
    LIST,
    PUSH,
    Filter,
    KickAnswer,
    KickSessions,
    ListSessions,
    PushAnswer,
    PushToSessions,
)
from push.runtime.ports import Clock
from push.runtime.timers import sleep
from push.session.entry import Batch, Entry
from push.session.subscription import Subscription
from push.session.transitions import State
from push.streams.channel import Channel
from push.streams.message import push_body
from push.wire.api.connections import Connection

SLICE = 2000
PUSHES_REMEMBERED = 1000

_decode_list = msgspec.json.Decoder(ListSessions).decode
_decode_kick = msgspec.json.Decoder(KickSessions).decode
_decode_push = msgspec.json.Decoder(PushToSessions).decode


class SessionSource(Protocol):
    """What is needed of the gateway."""

    sessions: dict[str, DeviceSession]
    fanout: FanOut

    def kick(self, device: DeviceSession, reason: str) -> None: ...

    async def until_ended_are_done(self) -> None: ...

    def now_ms(self) -> int: ...


class SessionQueryHandler:
    """The sessions of one connector, for the whole cluster."""

    def __init__(
        self, reactor: Clock, port: SessionSource, survey_handler: SurveyHandler, node: str
    ) -> None:
        self._reactor = reactor
        self._port = port
        self._node = node
        # Asked again with an idempotency key, a message is not handed out again.
        self._pushed: OrderedDict[str, PushAnswer] = OrderedDict()
        survey_handler.handle(LIST, self._list)
        survey_handler.handle(KICK, self._kick)
        survey_handler.handle(PUSH, self._push)

    async def _list(self, raw: bytes) -> list[Connection]:
        asked = _decode_list(raw)
        found = {
            device.session_id: device
            for device in await self._matching(asked.filter)
            if device.session_id > asked.after and device.protocol.state is State.OPEN
        }
        return [self._row(found[id]) for id in heapq.nsmallest(asked.limit, found)]

    def _row(self, device: DeviceSession) -> Connection:
        return Connection(
            device.session_id,
            device.token,
            device.user,
            self._node,
            device.connection.ip,
            device.connection.carrier,
            device.connected_ms,
        )

    async def _kick(self, raw: bytes) -> KickAnswer:
        kicked = 0
        for device in await self._matching(_decode_kick(raw).filter):
            if not device.is_over:
                self._port.kick(device, KICKED_REASON)
                kicked += 1
        # What they asked for before is done, or never will be: nothing of it comes later.
        await self._port.until_ended_are_done()
        return KickAnswer(kicked)

    async def _push(self, raw: bytes) -> PushAnswer:
        asked = _decode_push(raw)
        before = self._pushed.get(asked.id)
        if before is not None:
            return before
        matching = await self._matching(Filter(ip=asked.ip))
        found = [each for each in matching if each.protocol.state is State.OPEN]
        answer = PushAnswer(len(found), sum(each.token is not None for each in found))
        before = self._pushed.setdefault(asked.id, answer)
        if before is not answer:
            return before
        if len(self._pushed) > PUSHES_REMEMBERED:
            self._pushed.popitem(last=False)
        self._hand_out(asked, found)
        return answer

    def _hand_out(self, asked: PushToSessions, found: list[DeviceSession]) -> None:
        """As on the channel of a stream that just these sessions follow, and only now."""
        channel = Channel(f"ip:{asked.ip}")
        now_ms = self._port.now_ms()
        now = b"%d" % now_ms
        body = push_body(channel.stream, b"0", now, now, bytes(asked.content))
        entry = Entry(asked.id, 0, 0, body, expires_ms=now_ms, online=asked.acknowledged)
        channel.followers.update({each: Subscription(channel.stream, 0) for each in found})
        self._port.fanout.batch(channel, Batch([entry]))
        self._port.fanout.end_turn()

    async def _matching(self, asked: Filter) -> list[DeviceSession]:
        """The sessions that fit, gone ones among them."""
        if asked.node not in (None, self._node):
            return []
        sessions: Mapping[str, DeviceSession] = self._port.sessions
        if asked.session is not None:
            one = sessions.get(asked.session)
            candidates = [] if one is None else [one]
        else:
            candidates = list(sessions.values())
        fits = test_of(asked)
        found: list[DeviceSession] = []
        for start in range(0, len(candidates), SLICE):
            if start:
                await sleep(self._reactor, 0)
            found += [each for each in candidates[start : start + SLICE] if fits(each)]
        return found
