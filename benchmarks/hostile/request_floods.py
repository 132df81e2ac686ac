"""Floods of requests that cost more than they look."""

from __future__ import annotations

import json
import time
from itertools import count

from benchmarks.hostile.attacker import Attacker, flood, repeated
from benchmarks.hostile.connections import Connection
from push.wire.frames import encode_frame
from push.wire.signals import RequestName, Signal

LARGE = "x" * 200_000


def peer_of(attacker: Attacker) -> str:
    return f"attacker{(attacker.number + 1) % len(attacker.target.pairs)}"


def body_of(**members: object) -> bytes:
    return json.dumps(members).encode()


def asked(connection: Connection, request: RequestName, body: bytes) -> None:
    """Ask, and wait until everything is answered."""
    free = len(connection.free_ids)
    connection.ask(request, body)
    while len(connection.free_ids) < free:
        connection.wait(30)


@flood("auth", "AUTH with a JWT of 8 KiB that nobody has signed")
def auth(attacker: Attacker) -> None:
    connection = attacker.session()
    jwt = "eyJhbGciOiJSUzI1NiJ9." + "eyJzdWIiOiJ4In0" * 500 + ".c2lnbmVk"
    body = body_of(jwt=jwt)
    for number in count():
        connection.frame(Signal.AUTH, body, 1 + number % 60_000)


@flood("jwt-connects", "CONNECT with a JWT of 8 KiB that nobody has signed")
def jwt_connects(attacker: Attacker) -> None:
    connection = attacker.dial("tcp")
    connection.frame(Signal.CONNECT, body_of(jwt=f"eyJhbGciOiJSUzI1NiJ9.{'a' * 8000}.c2ln"), 1)
    connection.wait(5)


@flood("cursors", "CONNECT with as many cursors as a frame takes")
def cursors(attacker: Attacker) -> None:
    connection = attacker.dial("tcp")
    streams = {f"topic:flood.{number}": "1" for number in range(2_800)}
    connection.frame(Signal.CONNECT, body_of(**attacker.pair, cursors=streams), 1)
    connection.answer()
    connection.close(abruptly=True)


@flood("large-histories", "MP of messages of 200 KB whose answers are read")
def large_histories(attacker: Attacker) -> None:
    connection = attacker.session()
    peer = peer_of(attacker)
    for _ in range(10):
        asked(connection, RequestName.MS, body_of(to={"user": peer}, data=LARGE))
    body = body_of(conversation=f"user:{peer}", limit=200)
    while True:
        connection.ask(RequestName.MP, body)


@flood("large-histories-unread", "MP of messages of 200 KB whose answers nobody reads")
def large_histories_unread(attacker: Attacker) -> None:
    connection = attacker.session()
    peer = peer_of(attacker)
    for _ in range(10):
        asked(connection, RequestName.MS, body_of(to={"user": peer}, data=LARGE))
    connection.reads = False
    body = body_of(conversation=f"user:{peer}", limit=200)
    for number in range(60):
        connection.frame(Signal.PUBLISH, body, 100 + number, RequestName.MP)
    time.sleep(600)


@flood("positions", "MRN again and again, of which the peer is told")
def positions(attacker: Attacker) -> None:
    move_positions(attacker, peer_of(attacker))


def move_positions(attacker: Attacker, user: str) -> None:
    """Back and forth, in the conversation with `user`."""
    connection = attacker.session()
    asked(connection, RequestName.MS, body_of(to={"user": user}, data=1))
    for number in count():
        body = body_of(conversation=f"user:{user}", read=number % 2)
        connection.ask(RequestName.MRN, body)


@flood("presence", "PS of a hundred users")
def presence(attacker: Attacker) -> None:
    connection = attacker.session()
    body = body_of(users=[f"user{number}" for number in range(100)])
    while True:
        connection.ask(RequestName.PS, body)


@flood("lists", "CL and GPGM, as fast as they are answered")
def lists(attacker: Attacker) -> None:
    connection = attacker.session()
    members = [f"member{number}" for number in range(200)]
    connection.ask(RequestName.GC, body_of(name="g", members=members))
    while True:
        connection.ask(RequestName.CL, b'{"limit":200}')


@flood("group-changes", "the name of a group of 200 is changed, again and again")
def group_changes(attacker: Attacker) -> None:
    connection = attacker.session()
    made = attacker.target.pairs
    members = [f"attacker{number}" for number in range(len(made))]
    members += [f"member{number}" for number in range(200)]
    connection.ask(RequestName.GC, body_of(name="g", members=members))
    group = ""
    while not group:
        connection.wait(30)
        group = next((str(g) for g in connection.groups), "")
    for number in count():
        connection.ask(RequestName.GMI, body_of(group=group, name=f"n{number}"))


@flood("group-removals", "500 users are removed who are no members")
def group_removals(attacker: Attacker) -> None:
    connection = attacker.session()
    connection.ask(RequestName.GC, body_of(name="g"))
    group = ""
    while not group:
        connection.wait(30)
        group = next((str(g) for g in connection.groups), "")
    body = body_of(group=group, users=[f"nobody{number}" for number in range(500)])
    while True:
        connection.ask(RequestName.GKM, body)


@flood("large-group-messages", "messages of 60 KB to a group of all attackers")
def large_group_messages(attacker: Attacker) -> None:
    connection = attacker.session()
    members = [f"attacker{number}" for number in range(len(attacker.target.pairs))]
    connection.ask(RequestName.GC, body_of(name="g", members=members))
    while not connection.groups:
        connection.wait(30)
    body = body_of(to={"group": connection.groups[0]}, data="x" * 60_000)
    while True:
        connection.ask(RequestName.MS, body)


@flood("large-requests", "requests of 900 KB that are refused")
def large_requests(attacker: Attacker) -> None:
    connection = attacker.session()
    body = body_of(to={"user": "x"}, data="x" * 900_000)
    while True:
        connection.ask(RequestName.MS, body)


@flood("strange-numbers", "JSON with fifteen thousand members")
def strange_numbers(attacker: Attacker) -> None:
    connection = attacker.session()
    body = b'{"to":{"user":"x"},"data":{' + b",".join(b'"%d":%d' % (n, n) for n in range(15_000))
    body += b"}}"
    while True:
        connection.ask(RequestName.TP, body)


@flood("take-overs", "two connections take one session from each other")
def take_overs(attacker: Attacker) -> None:
    one, other = attacker.session(), attacker.dial("tcp")
    other.connect(attacker.pair)
    one.close(abruptly=True)
    other.close(abruptly=True)


@flood("small-window", "a window of one message, which is not acknowledged, and pushes to oneself")
def small_window(attacker: Attacker) -> None:
    connection = attacker.dial("tcp")
    connection.acknowledges = False
    connection.frame(Signal.CONNECT, body_of(**attacker.pair, window=1), 1)
    connection.answer()
    body = body_of(to={"user": peer_of(attacker)}, data="x" * 1000)
    while True:
        connection.ask(RequestName.MS, body)


@flood("goodbyes", "DISCONNECT with a reason of 60 KB before a session")
def goodbyes(attacker: Attacker) -> None:
    connection = attacker.dial("tcp")
    connection.frame(Signal.DISCONNECT, body_of(code="bye", reason="x" * 60_000))
    connection.wait(5)
    connection.close(abruptly=True)


@flood("registrations-open", "SUB with the key of an app")
def registrations_open(attacker: Attacker) -> None:
    connection = attacker.dial("tcp")
    body = body_of(key=attacker.target.app_key, platform="x", app="x")
    for _ in range(3):
        connection.frame(Signal.SUB, body, 1)
        connection.answer()
    connection.close(abruptly=True)


@flood("subs-pipelined", "SUB and CONNECT frames without end before an answer")
def subs_pipelined(attacker: Attacker) -> None:
    connection = attacker.dial("tcp")
    body = body_of(key="x" * 40, platform="x", app="x")
    connection.send(repeated(encode_frame(Signal.SUB, 0, 1, body)))
    connection.wait(5)


@flood("half-closed", "connections whose client says nothing more, and stays")
def half_closed(attacker: Attacker) -> None:
    connection = attacker.dial("tcp")
    connection.frame(Signal.CONNECT, body_of(**attacker.pair), 1)
    connection.answer()
    connection.shut()
    connection.wait(5)
