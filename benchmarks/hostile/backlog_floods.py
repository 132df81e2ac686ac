"""Floods of sessions that let others work for them: what waits for a device, is told to a victim,
or is read anew each time."""

from __future__ import annotations

import json
import time
from itertools import count

from benchmarks.hostile.attacker import Attacker, flood, repeated
from benchmarks.hostile.connection_floods import HELD
from benchmarks.hostile.connections import VICTIM, Connection
from benchmarks.hostile.request_floods import asked, body_of, move_positions, peer_of
from push.wire.frames import encode_frame
from push.wire.signals import RequestName, Signal

MOST_TOPICS = 100  # of a device
MESSAGES = 50  # that a user may send at once, and a few


def opened(attacker: Attacker, **members: object) -> Connection:
    """A session whose CONNECT has these members, too."""
    connection = attacker.dial("tcp")
    connection.frame(Signal.CONNECT, body_of(**attacker.pair, **members), 1)
    connection.answer()
    return connection


def fill(attacker: Attacker, size_bytes: int) -> None:
    """Let messages wait for the device of this attacker, of which it acknowledges none."""
    if attacker.is_prepared:
        return
    attacker.is_prepared = True
    connection = opened(attacker, window=1)
    connection.acknowledges = False
    body = body_of(to={"user": peer_of(attacker)}, data="x" * size_bytes)
    for _ in range(MESSAGES):
        asked(connection, RequestName.MS, body)


def group_of(attacker: Attacker, connection: Connection, members: list[str]) -> str:
    connection.ask(RequestName.GC, body_of(name="g", members=members))
    while not connection.groups:
        connection.wait(30)
    return connection.groups[-1]


# --- What waits


@flood("connects-again", "CONNECT, cut as soon as a megabyte that waits for the device comes")
def connects_again(attacker: Attacker) -> None:
    fill(attacker, 60_000)
    for _ in range(100):
        connection = opened(attacker)
        connection.acknowledges = False
        connection.wait(5)
        connection.close(abruptly=True)


@flood("connects-unread", "CONNECT with a backlog of a megabyte that nobody reads")
def connects_unread(attacker: Attacker) -> None:
    fill(attacker, 60_000)
    for _ in range(100):
        connection = attacker.dial("tcp", receive_buffer_bytes=4096)
        connection.frame(Signal.CONNECT, body_of(**attacker.pair), 1)
        time.sleep(0.05)
        connection.close(abruptly=True)


@flood("trickle", "a backlog of megabytes that is read in pieces of some hundred bytes")
def trickle(attacker: Attacker) -> None:
    fill(attacker, 60_000)
    connection = attacker.dial("tcp", receive_buffer_bytes=2048)
    connection.frame(Signal.CONNECT, body_of(**attacker.pair), 1)
    while True:
        connection.sip(256)


@flood("acks-reversed", "a full window of messages, acknowledged from the last to the first")
def acks_reversed(attacker: Attacker) -> None:
    fill(attacker, 100)
    connection = opened(attacker)
    connection.acknowledges = False
    while True:
        connection.wait(1)
        numbers, connection.pushed = connection.pushed[::-1], []
        frames = b"".join(encode_frame(Signal.PUB_ACK, 0, number) for number in numbers)
        connection.send(frames + repeated(encode_frame(Signal.PUB_ACK, 0, 3), 2000))


@flood("oneself", "messages to the attacker's own user, as many as are allowed")
def oneself(attacker: Attacker) -> None:
    connection = attacker.session()
    body = body_of(to={"user": f"attacker{attacker.number}"}, data="x" * 10_000)
    while True:
        connection.ask(RequestName.MS, body)


@flood("wars", "two sessions of a device, each of which connects again when it was taken over")
def wars(attacker: Attacker) -> None:
    body = json.dumps(attacker.pair).encode()
    while True:
        one, other = attacker.dial("tcp"), attacker.dial("ws")
        one.frame(Signal.CONNECT, body, 1)
        other.frame(Signal.CONNECT, body, 1)
        other.answer()
        one.close()
        other.close()


# --- What a device follows


@flood("topics-full", "TS and TU of one topic, by a device that has as many as it may have")
def topics_full(attacker: Attacker) -> None:
    connection = attacker.session()
    for number in range(MOST_TOPICS - 1):
        name = f"flood.{attacker.number}.{number}." + "x" * 60
        asked(connection, RequestName.TS, body_of(topic=name))
    body = body_of(topic="flood")
    while True:
        connection.ask(RequestName.TS, body)
        connection.ask(RequestName.TU, body)


@flood("topics-shared", "a hundred topics of all attackers, followed anew at each CONNECT")
def topics_shared(attacker: Attacker) -> None:
    if not attacker.is_prepared:
        attacker.is_prepared = True
        connection = attacker.session()
        for number in range(MOST_TOPICS):
            asked(connection, RequestName.TS, body_of(topic=f"flood.{number}"))
    cursors = {f"topic:flood.{number}": "1" for number in range(MOST_TOPICS)}
    while True:
        opened(attacker, cursors=cursors).close(abruptly=True)


# --- A victim


@flood("victim-messages", "messages of 60 KB to the user whose device is measured")
def victim_messages(attacker: Attacker) -> None:
    connection = attacker.session()
    body = body_of(to={"user": VICTIM}, data="x" * 60_000)
    while True:
        connection.ask(RequestName.MS, body)


@flood("victim-typing", "TP to the user whose device is measured")
def victim_typing(attacker: Attacker) -> None:
    connection = attacker.session()
    body = body_of(conversation=f"user:{VICTIM}")
    while True:
        connection.ask(RequestName.TP, body)


@flood("victim-positions", "MRN in a conversation with the user whose device is measured")
def victim_positions(attacker: Attacker) -> None:
    move_positions(attacker, VICTIM)


@flood("members-flap", "the user whose device is measured is added to a group, and removed from it")
def members_flap(attacker: Attacker) -> None:
    connection = attacker.session()
    group = group_of(attacker, connection, [peer_of(attacker)])
    body = body_of(group=group, users=[VICTIM])
    while True:
        asked(connection, RequestName.GAM, body)
        asked(connection, RequestName.GKM, body)


@flood("victim-groups", "groups with the user whose device is measured: made, named, dismissed")
def victim_groups(attacker: Attacker) -> None:
    connection = attacker.session()
    everybody = [f"attacker{number}" for number in range(len(attacker.target.pairs))]
    while True:
        group = group_of(attacker, connection, [VICTIM, *everybody])
        for number in range(20):
            asked(connection, RequestName.GMI, body_of(group=group, name=f"n{number}"))
        asked(connection, RequestName.GD, body_of(group=group))
        connection.groups.clear()


@flood("recalls", "messages to the user whose device is measured, each recalled at once")
def recalls(attacker: Attacker) -> None:
    connection = attacker.session()
    body = body_of(to={"user": VICTIM}, data="x" * 1000)
    for number in count(1):
        connection.ask(RequestName.MS, body)
        connection.ask(RequestName.MR, body_of(conversation=f"user:{VICTIM}", seq=number % 60 + 1))


# --- Many sessions, each within its limits


@flood("fleet", "sixty devices of an attacker, each of which sends a PING after the other")
def fleet(attacker: Attacker) -> None:
    sessions = []
    for _ in range(HELD):
        connection = attacker.dial("tcp")
        body = body_of(key=attacker.target.app_key, platform="x", app="x")
        connection.frame(Signal.SUB, body, 1)
        pair = json.loads(connection.answer().body)
        connection.connect({name: pair[name] for name in ("token", "secret")})
        sessions.append(connection)
    ping = encode_frame(Signal.PING, 0, 5)
    while True:
        for connection in sessions:
            connection.send(ping)


@flood("max-frames", "PING frames of a megabyte, most of it one text")
def max_frames(attacker: Attacker) -> None:
    connection = attacker.session()
    body = b'{"interval":10,"x":"' + b"x" * (1024 * 1024 - 100) + b'"}'
    data = encode_frame(Signal.PING, 0, 5, body)
    while True:
        connection.send(data)


@flood("max-acks", "PUB_ACK frames whose body is a megabyte of JSON")
def max_acks(attacker: Attacker) -> None:
    connection = attacker.session()
    data = encode_frame(Signal.PUB_ACK, 0, 3, b'{"x":[' + b"1," * 500_000 + b"1]}")
    while True:
        connection.send(data)


@flood("connect-deep", "CONNECT whose JSON is as deep as its frame takes")
def connect_deep(attacker: Attacker) -> None:
    connection = attacker.dial("tcp")
    deep = b"[" * 32_000 + b"]" * 32_000
    connection.send(encode_frame(Signal.CONNECT, 0, 1, b'{"token":"x","x":' + deep + b"}"))
    connection.wait(5)


@flood("connect-names", "CONNECT with ten thousand members that nobody knows")
def connect_names(attacker: Attacker) -> None:
    connection = attacker.dial("tcp")
    names = b",".join(b'"%d":0' % number for number in range(6_000))
    connection.send(encode_frame(Signal.CONNECT, 0, 1, b'{"jwt":"x",' + names + b"}"))
    connection.wait(5)


@flood("farewells", "64 requests, then DISCONNECT, again and again")
def farewells(attacker: Attacker) -> None:
    connection = attacker.session()
    peer = body_of(conversation=f"user:{peer_of(attacker)}", limit=200)
    frames = [encode_frame(Signal.PUBLISH, RequestName.MP, 10 + n, peer) for n in range(60)]
    connection.send(b"".join(frames) + encode_frame(Signal.DISCONNECT, 0, 0, b'{"code":"bye"}'))
    connection.close()


@flood("unknown-requests", "PUBLISH with sub-signals that nobody knows")
def unknown_requests(attacker: Attacker) -> None:
    connection = attacker.session()
    data = b"".join(
        encode_frame(Signal.PUBLISH, 30 + number % 60, 0, b"{}") for number in range(200)
    )
    while True:
        connection.send(data * 20)
