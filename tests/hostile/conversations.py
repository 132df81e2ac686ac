"""Conversations of a device, right ones and mutated ones, from a seed.

A conversation is a list of messages; `mutated` spoils some of them: their order, their JSON, the
bytes of their frames. The same seed makes the same bytes.
"""

from __future__ import annotations

import json
from random import Random
from typing import Any, NamedTuple

from benchmarks.hostile.connections import CLOSE, CONTINUATION, PING, PONG, TEXT, ws_frame
from push.wire.frames import encode_frame
from push.wire.signals import RequestName, Signal

ODD_VALUES: list[Any] = [
    None,
    True,
    0,
    -1,
    1.5,
    2**31,
    2**63,
    -(2**64),
    10**400,
    1e308,
    "",
    ".",
    "..",
    "\x00",
    "\n",
    "’ü漢😀",
    "a" * 65,
    "a" * 300,
    "x" * 40_000,
    [],
    {},
    [[]],
    ["a"] * 1500,
    [None, 1, "a"],
    {"a": {"a": {"a": {}}}},
    {"user": "a", "group": "b"},
]
# What json.dumps does not write.
ODD_TEXTS = [
    b"",
    b" ",
    b"null",
    b"[]",
    b"1",
    b'"a"',
    b"{",
    b"}",
    b"{}{}",
    b"{'a':1}",
    b'{"a":NaN}',
    b'{"a":Infinity}',
    b'{"a":1e999}',
    b'{"a":-0}',
    b'{"a":01}',
    b'{"a":1,"a":2}',
    b'{"a":"\\ud800"}',
    b'{"a":"\\u0000"}',
    b'{"a":"\xff\xfe"}',
    b'{"\xc3":1}',
    b"\xef\xbb\xbf{}",
    b"[" * 3000,
    b"[" * 31 + b"]" * 31,
    b'{"a":' * 40 + b"1" + b"}" * 40,
    b'{"a":' + b"9" * 5000 + b"}",
]
BODIES: dict[RequestName, list[dict[str, Any]]] = {
    RequestName.MS: [
        {"to": {"user": "peer"}, "data": {"a": 1}, "client_id": "c1", "type": "text"},
        {"to": {"group": "nosuch"}, "data": "x", "mentions": ["peer"], "reply_to": 1},
    ],
    RequestName.MN: [{}],
    RequestName.MP: [{"conversation": "user:peer", "after": 0, "limit": 5}],
    RequestName.MR: [{"conversation": "user:peer", "seq": 1}],
    RequestName.RMN: [{}],
    RequestName.MRN: [{"conversation": "user:peer", "delivered": 0, "read": 0}],
    RequestName.GC: [{"name": "g", "members": ["peer"], "type": "normal", "extra": {"a": 1}}],
    RequestName.GPGI: [{"group": "nosuch"}],
    RequestName.GPGM: [{"group": "nosuch", "cursor": "", "limit": 5}],
    RequestName.GAM: [{"group": "nosuch", "users": ["peer"]}],
    RequestName.GKM: [{"group": "nosuch", "users": ["peer"]}],
    RequestName.GQ: [{"group": "nosuch"}],
    RequestName.GMI: [
        {"group": "nosuch", "name": "n", "member": {"user": "peer", "role": "admin"}}
    ],
    RequestName.GD: [{"group": "nosuch"}],
    RequestName.CL: [{"limit": 5}],
    RequestName.TS: [{"topic": "fuzz"}],
    RequestName.TU: [{"topic": "fuzz"}],
    RequestName.TP: [{"conversation": "user:peer"}],
    RequestName.PS: [{"users": ["peer", "fuzz2"]}],
}


class Message(NamedTuple):
    """One, before it is a frame. `sub`: the sub-signal, a RequestName or any number."""

    signal: int
    body: bytes
    message_id: int = 0
    sub: int = 0

    def binary(self) -> bytes:
        return encode_frame(self.signal & 0xFF, self.sub & 0xFF, self.message_id, self.body)

    def text(self) -> bytes:
        signal = Signal(self.signal).name if self.signal in set(Signal) else str(self.signal)
        sub = RequestName(self.sub).name if self.sub in set(RequestName) else str(self.sub or "")
        head = f'{{"signal":"{signal}","subSignal":"{sub}","messageId":{self.message_id}'
        return head.encode() + b',"content":' + (self.body or b"{}") + b"}"


def right(random: Random, pair: dict[str, str], app_key: str) -> list[Message]:
    """A conversation that keeps to the contract."""
    found = []
    if random.random() < 0.2:
        body = {"key": app_key, "platform": "fuzz", "app": "fuzz", "device": "a"}
        found.append(Message(Signal.SUB, _json(body), 1))
    connect: dict[str, Any] = dict(pair)
    if random.random() < 0.3:
        connect |= {"heartbeat": 60, "window": 5, "sdk": "fuzz", "max_frame": 65536}
    if random.random() < 0.2:
        connect["cursors"] = {"user:peer": "1", "all": "0", "topic:fuzz": "5"}
    found.append(Message(Signal.CONNECT, _json(connect), 2))
    for number in range(random.randrange(6)):
        found.append(_request(random, 10 + number))
    if random.random() < 0.3:
        found.append(Message(Signal.DISCONNECT, b'{"code":"bye","reason":"done"}'))
    return found


def _request(random: Random, message_id: int) -> Message:
    kind = random.random()
    if kind < 0.15:
        return Message(Signal.PING, random.choice([b"", b'{"interval":60}']), message_id)
    if kind < 0.25:
        return Message(Signal.PUB_ACK, b"", random.randrange(1, 65536))
    if kind < 0.3:
        return Message(Signal.AUTH, b'{"jwt":"a.b.c"}', message_id)
    name = random.choice(list(BODIES))
    return Message(Signal.PUBLISH, _json(random.choice(BODIES[name])), message_id, name)


def _json(value: object) -> bytes:
    return json.dumps(value, ensure_ascii=False).encode("utf-8", "surrogatepass")


# --- Mutations


def mutated(random: Random, messages: list[Message]) -> list[Message]:
    """One to three mutations of messages or of their order."""
    found = list(messages)
    for _ in range(random.randrange(1, 4)):
        place = random.randrange(len(found))
        change = random.randrange(7)
        if change == 0:
            found.insert(random.randrange(len(found) + 1), found[place])
        elif change == 1 and len(found) > 1:
            del found[place]
        elif change == 2:
            random.shuffle(found)
        elif change == 3:
            found[place] = _other_header(random, found[place])
        else:
            found[place] = found[place]._replace(body=_other_body(random, found[place].body))
    return found


def _other_header(random: Random, message: Message) -> Message:
    return random.choice(
        [
            message._replace(signal=random.randrange(256)),
            message._replace(signal=random.choice(list(Signal))),
            message._replace(sub=random.randrange(256)),
            message._replace(message_id=random.choice([0, 1, 10, 65535])),
        ]
    )


def _other_body(random: Random, body: bytes) -> bytes:
    if random.random() < 0.25:
        return random.choice(ODD_TEXTS)
    if random.random() < 0.25:
        return flipped(random, body)
    try:
        value = json.loads(body or b"{}")
    except (ValueError, RecursionError):
        return random.choice(ODD_TEXTS)
    return _json(_other_json(random, value))


def _other_json(random: Random, value: Any) -> Any:
    """`value` with one place changed, at whatever depth."""
    if isinstance(value, dict) and value and random.random() < 0.9:
        name = random.choice(sorted(value))
        change = random.random()
        if change < 0.15:
            return {key: each for key, each in value.items() if key != name}
        if change < 0.3:
            return {**value, random.choice(["", "token", "user", "x" * 500, "\x00"]): 1}
        return {**value, name: _other_json(random, value[name])}
    if isinstance(value, list) and value and random.random() < 0.5:
        place = random.randrange(len(value))
        return [*value[:place], _other_json(random, value[place]), *value[place + 1 :]]
    return random.choice(ODD_VALUES)


def flipped(random: Random, data: bytes) -> bytes:
    """Bits turned, bytes put in, left out or repeated."""
    found = bytearray(data or b"\x00")
    for _ in range(random.randrange(1, 4)):
        place = random.randrange(len(found))
        change = random.randrange(4)
        if change == 0:
            found[place] ^= 1 << random.randrange(8)
        elif change == 1:
            found[place:place] = random.randbytes(random.randrange(1, 9))
        elif change == 2:
            del found[place : place + random.randrange(1, 9)]
        else:
            found[place:place] = found[place : place + 20]
        found = found or bytearray(b"\x00")
    return bytes(found)


# --- Bytes


def over_tcp(random: Random, messages: list[Message], *, spoil: bool = True) -> bytes:
    data = b"".join(message.binary() for message in messages)
    return flipped(random, data) if spoil and random.random() < 0.3 else data


def over_ws(random: Random, messages: list[Message], *, spoil: bool = True) -> bytes:
    """Frames of RFC 6455; some fragmented, with controls between, some against that RFC."""
    data = b"".join(_ws_message(random, message.text(), spoil=spoil) for message in messages)
    return flipped(random, data) if spoil and random.random() < 0.2 else data


def _ws_message(random: Random, text: bytes, *, spoil: bool) -> bytes:
    kind = random.random()
    if kind < 0.2 and len(text) > 1:
        cut = random.randrange(1, len(text))
        between = ws_frame(b"p", PING) if spoil and random.random() < 0.5 else b""
        first = ws_frame(text[:cut], TEXT, final=False)
        return first + between + ws_frame(text[cut:], CONTINUATION)
    if not spoil or kind < 0.8:
        return ws_frame(text)
    opcode = random.choice([CONTINUATION, 2, 3, CLOSE, PING, PONG, 11, 15])
    return random.choice(
        [
            ws_frame(text, opcode),
            ws_frame(text, opcode, final=False),
            ws_frame(random.randbytes(random.randrange(200)), CLOSE),
            ws_frame(b"x" * 126, PING),
            bytes([0xC1]) + ws_frame(text)[1:],  # a reserved bit
            bytes([0x81, min(125, len(text))]) + text[:125],  # not masked
        ]
    )


def segments(random: Random, data: bytes) -> list[bytes]:
    """`data` as it is handed to the socket: whole, in pieces, or byte by byte."""
    kind = random.random()
    if kind < 0.5 or len(data) < 2:
        return [data]
    if kind < 0.6 and len(data) < 400:
        return [data[place : place + 1] for place in range(len(data))]
    cuts = sorted(random.randrange(len(data)) for _ in range(random.randrange(1, 5)))
    return [data[a:b] for a, b in zip([0, *cuts], [*cuts, len(data)], strict=True) if a < b]
