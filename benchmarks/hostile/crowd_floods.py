"""Floods of many sessions, each of which keeps to what is allowed, or nearly: together they let
one request be worked for many."""

from __future__ import annotations

import time
from itertools import count

from benchmarks.hostile.attacker import Attacker, flood
from benchmarks.hostile.backlog_floods import group_of
from benchmarks.hostile.crowds import CROWD, Crowd, call, registered
from benchmarks.hostile.request_floods import body_of, peer_of
from push.wire.frames import encode_frame
from push.wire.signals import RequestName, Signal

PER_SECOND = 15  # requests of a session
TOPIC = "flood"


def crowd_of(
    attacker: Attacker, *carriers: str, own_users: bool = False, **options: object
) -> Crowd:
    """`own_users`: each device is of a user of its own; else all are the attacker's user's."""
    if not attacker.crowd:
        name = f"attacker{attacker.number}"
        users = [f"{name}.{n}" if own_users else name for n in range(CROWD)]
        attacker.crowd = registered(attacker, CROWD, users)
    return Crowd(attacker, attacker.crowd, *carriers, **options)


def all_of_them(attacker: Attacker) -> list[str]:
    """The users of all crowds that have users of their own."""
    numbers = range(len(attacker.target.pairs))
    return [f"attacker{number}.{n}" for number in numbers for n in range(CROWD)]


def ask_in_turn(crowd: Crowd, *requests: tuple[RequestName, bytes]) -> None:
    """Each session sends them one after the other, `PER_SECOND` a second, answered or not."""
    for number in count():
        begun = time.monotonic()
        request, body = requests[number % len(requests)]
        for connection in list(crowd.sessions):
            if connection.free_ids:
                crowd.request(connection, request, body)
        crowd.take(max(begun + 1 / PER_SECOND - time.monotonic(), 0))


@flood("crowd-pings", "thirty sessions of a user over four carriers, each with PINGs at its rate")
def crowd_pings(attacker: Attacker) -> None:
    crowd = crowd_of(attacker, "tcp", "tls", "ws", "wss")
    while True:
        for connection in list(crowd.sessions):
            crowd.send(connection, connection.encoded(Signal.PING, b"", 5) * 10)
        crowd.take(0.05)


@flood("crowd-lists", "thirty sessions of an attacker, each with 15 CL a second")
def crowd_lists(attacker: Attacker) -> None:
    ask_in_turn(crowd_of(attacker), (RequestName.CL, b"{}"))


@flood("crowd-topics", "thirty sessions of an attacker, each with 15 TS and TU a second")
def crowd_topics(attacker: Attacker) -> None:
    body = body_of(topic=TOPIC)
    ask_in_turn(crowd_of(attacker), (RequestName.TS, body), (RequestName.TU, body))


@flood("crowd-refused", "thirty sessions of an attacker, each with 15 MS a second, most refused")
def crowd_refused(attacker: Attacker) -> None:
    body = body_of(to={"user": peer_of(attacker)}, data="x")
    ask_in_turn(crowd_of(attacker), (RequestName.MS, body))


@flood("crowd-positions", "thirty sessions of a user, each with 15 MRN a second, which all receive")
def crowd_positions(attacker: Attacker) -> None:
    crowd = crowd_of(attacker)
    body = body_of(to={"user": peer_of(attacker)}, data="x")
    one = crowd.sessions[0]
    one.ask(RequestName.MS, body)
    bodies = [body_of(conversation=f"user:{peer_of(attacker)}", read=n) for n in (0, 1)]
    ask_in_turn(crowd, *((RequestName.MRN, each) for each in bodies))


@flood("crowd-group", "a group of all sessions of all attackers, whose name each changes on end")
def crowd_group(attacker: Attacker) -> None:
    crowd = crowd_of(attacker, own_users=True)
    one = crowd.sessions[0]
    group = group_of(attacker, one, all_of_them(attacker)[:500])
    for number in count():
        while not one.free_ids:
            crowd.take(0.01)
        crowd.request(one, RequestName.GMI, body_of(group=group, name=f"n{number}"))
        crowd.take(0)


@flood("crowd-group-chat", "a group of all sessions of all attackers, to which each writes")
def crowd_group_chat(attacker: Attacker) -> None:
    crowd = crowd_of(attacker, own_users=True)
    group = group_of(attacker, crowd.sessions[0], all_of_them(attacker)[:500])
    body = body_of(to={"group": group}, data="x" * 1000)
    while True:
        for connection in list(crowd.sessions):
            if connection.free_ids:
                crowd.request(connection, RequestName.MS, body)
            crowd.take(0)
        crowd.take(0.05)


@flood("crowd-members", "groups of all sessions of all attackers, made and dismissed")
def crowd_members(attacker: Attacker) -> None:
    crowd = crowd_of(attacker, own_users=True)
    new_group = body_of(name="g", members=all_of_them(attacker)[:500])
    while True:
        for connection in list(crowd.sessions):
            if connection.groups:
                group = connection.groups.pop()
                crowd.request(connection, RequestName.GD, body_of(group=group))
            crowd.request(connection, RequestName.GC, new_group)
            crowd.take(0.02)


@flood("crowd-leaves", "thirty sessions of an attacker that end and come again at one moment")
def crowd_leaves(attacker: Attacker) -> None:
    crowd = crowd_of(attacker, "tcp", "ws")
    while True:
        crowd.take(2.5 - time.time() % 2.5)
        for connection in crowd.sessions:
            connection.close(abruptly=True)
        crowd = crowd_of(attacker, "tcp", "ws")


def following(attacker: Attacker, *carriers: str, **options: object) -> Crowd:
    """A crowd whose sessions follow a topic."""
    crowd = crowd_of(attacker, *carriers, **options)
    for connection in crowd.sessions:
        connection.ask(RequestName.TS, body_of(topic=TOPIC))
    return crowd


def broadcast(attacker: Attacker, data: str) -> None:
    call(attacker, "POST", "/v1/push", {"to": {"topic": TOPIC}, "data": data, "ttl": 60})


@flood("acks-together", "all sessions acknowledge a full window of broadcasts at one moment")
def acks_together(attacker: Attacker) -> None:
    crowd = following(attacker)
    for connection in crowd.sessions:
        connection.acknowledges = False
    while True:
        if attacker.number == 0:
            for _ in range(20):
                broadcast(attacker, "x")
        crowd.take(1.0 - time.time() % 1.0)
        for connection in list(crowd.sessions):
            numbers, connection.pushed = connection.pushed, []
            frames = (connection.encoded(Signal.PUB_ACK, b"", number) for number in numbers)
            crowd.send(connection, b"".join(frames))


@flood("broadcast-slow", "broadcasts of 60 KB to sessions that read some hundred bytes at a time")
def broadcast_slow(attacker: Attacker) -> None:
    crowd = following(attacker, receive_buffer_bytes=1024)
    while True:
        if attacker.number == 0:
            broadcast(attacker, "x" * 60_000)
        for _ in range(20):
            for connection in crowd.sessions:
                connection.sip(200)
            time.sleep(0.05)


@flood("acks-twice", "each message is acknowledged a hundred times")
def acks_twice(attacker: Attacker) -> None:
    crowd = following(attacker)
    for connection in crowd.sessions:
        connection.acknowledges = False
    while True:
        if attacker.number == 0:
            broadcast(attacker, "x")
        crowd.take(0.2)
        for connection in list(crowd.sessions):
            numbers, connection.pushed = connection.pushed, []
            for number in numbers:
                crowd.send(connection, encode_frame(Signal.PUB_ACK, 0, number) * 100)


@flood("crowd-connects", "thirty devices that connect, follow a topic, and leave again in turn")
def crowd_connects(attacker: Attacker) -> None:
    crowd_of(attacker)
    attacker.close_all()
    body = body_of(topic=TOPIC)
    for number in count():
        connection = attacker.dial(("tcp", "ws")[number % 2])
        connection.connect(attacker.crowd[number % CROWD])
        connection.ask(RequestName.TS, body)
        connection.ask(RequestName.TU, body)
        connection.frame(Signal.DISCONNECT, b'{"code":"bye"}')
        connection.close()


@flood("crowd-histories", "thirty sessions of a user that read back messages of 60 KB on end")
def crowd_histories(attacker: Attacker) -> None:
    crowd = crowd_of(attacker)
    peer = peer_of(attacker)
    one = crowd.sessions[0]
    body = body_of(to={"user": peer}, data="x" * 60_000)
    for _ in range(10):
        one.ask(RequestName.MS, body)
    ask_in_turn(crowd, (RequestName.MP, body_of(conversation=f"user:{peer}", limit=200)))


@flood("broadcast-unread", "many broadcasts to sessions that read nothing")
def broadcast_unread(attacker: Attacker) -> None:
    following(attacker, receive_buffer_bytes=1024)
    pushes = [{"to": {"topic": TOPIC}, "data": "x" * 2000, "qos": n % 2} for n in range(100)]
    while True:
        if attacker.number == 0:
            call(attacker, "POST", "/v1/push/batch", pushes)
        time.sleep(0.5)


@flood("connect-options", "CONNECT with all options at their most, over four carriers")
def connect_options(attacker: Attacker) -> None:
    streams = {f"topic:{'t' * 110}.{number}": "1" * 16 for number in range(400)}
    members = {"heartbeat": 1800, "sdk": "s" * 64, "window": 64, "max_frame": 1 << 20}
    body = body_of(**attacker.pair, **members, cursors=streams)
    for carrier in ("tcp", "tls", "ws", "wss"):
        connection = attacker.dial(carrier)
        connection.frame(Signal.CONNECT, body, 1)
        connection.answer()
        connection.close(abruptly=True)
