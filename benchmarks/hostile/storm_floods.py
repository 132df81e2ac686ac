"""Storms: what one client does now and then, done by a crowd at once, or page by page on end."""

from __future__ import annotations

import itertools
import json
import time

from benchmarks.hostile.attacker import Attacker, flood
from benchmarks.hostile.backlog_floods import group_of
from benchmarks.hostile.crowd_floods import (
    TOPIC,
    all_of_them,
    ask_in_turn,
    broadcast,
    crowd_of,
    following,
)
from benchmarks.hostile.crowds import CROWD, call
from benchmarks.hostile.http_floods import MANY, pipelined
from benchmarks.hostile.key_floods import request_of
from benchmarks.hostile.request_floods import body_of
from benchmarks.hostile.told_floods import receive
from benchmarks.hostile.web_floods import http_request
from push.wire.api.paging import make_cursor
from push.wire.signals import RequestName, Signal

WINDOW = 20  # broadcasts that nobody acknowledges
DEEP = 200  # messages of a history
PAGE = 20  # of them, and of members
TOPICS = 30  # that each device of a crowd follows
AT_ONCE_SECONDS = 2.5
FEW = 50  # as many tokens do not make a push a large one


# --- Devices


@flood("redelivery", "windows that nobody acknowledges, all due again at one moment (--lead 35)")
def redelivery(attacker: Attacker) -> None:
    crowd = following(attacker)
    for connection in crowd.sessions:
        connection.acknowledges = False
    crowd.take(3.0 - time.time() % 1.0)  # the others follow, too
    if attacker.number == 0:
        for _ in range(WINDOW):
            broadcast(attacker, "x" * 1000)
    while True:
        crowd.take(1.0)


@flood("histories-deep", "thirty sessions of a user that read a history back, page by page")
def histories_deep(attacker: Attacker) -> None:
    if not attacker.is_prepared:
        attacker.is_prepared = True
        receive(attacker, ["peer"] * DEEP)
    pages = [
        (RequestName.MP, body_of(conversation="user:peer", limit=PAGE, before=before))
        for before in range(DEEP, 1, -PAGE)
    ]
    ask_in_turn(crowd_of(attacker), *pages)


@flood("crowd-presence", "the presence of a hundred users, asked for by users of their own")
def crowd_presence(attacker: Attacker) -> None:
    crowd = crowd_of(attacker, own_users=True)
    ask_in_turn(crowd, (RequestName.PS, body_of(users=all_of_them(attacker)[:100])))


@flood("crowd-new-topics", "TS and TU of ever new topics by thirty sessions of each attacker")
def crowd_new_topics(attacker: Attacker) -> None:
    crowd = crowd_of(attacker)
    for number in itertools.count():
        begun = time.monotonic()
        for place, connection in enumerate(list(crowd.sessions)):
            body = body_of(topic=f"flood.{attacker.number}.{place}.{number // 2}")
            if connection.free_ids:
                crowd.request(connection, (RequestName.TS, RequestName.TU)[number % 2], body)
        crowd.take(max(begun + 1 / 15 - time.monotonic(), 0))


@flood("crowd-resumes", "devices with thirty topics that all come again at one moment")
def crowd_resumes(attacker: Attacker) -> None:
    crowd = crowd_of(attacker)
    if not attacker.is_prepared:
        attacker.is_prepared = True
        for number in range(TOPICS):
            for connection in list(crowd.sessions):
                body = body_of(topic=f"flood.{attacker.number}.{number}")
                crowd.request(connection, RequestName.TS, body)
            crowd.take(0.1)
    while True:
        crowd.take(AT_ONCE_SECONDS - time.time() % AT_ONCE_SECONDS)
        for connection in crowd.sessions:
            connection.close(abruptly=True)
        crowd = crowd_of(attacker)


@flood("crowd-streams", "event streams of thirty devices, opened and cut in turn", "http")
def crowd_streams(attacker: Attacker) -> None:
    crowd_of(attacker)
    attacker.close_all()
    for number in itertools.count():
        pair = attacker.crowd[number % CROWD]
        head = "GET /v1/stream HTTP/1.1\r\nHost: localhost\r\n"
        secret = f"Push-Token: {pair['token']}\r\nPush-Secret: {pair['secret']}\r\n\r\n"
        connection = attacker.dial("http")
        connection.send((head + secret).encode())
        connection.wait(5)
        connection.close(abruptly=True)


@flood("crowd-recalls", "messages to a group of all sessions, each recalled at once")
def crowd_recalls(attacker: Attacker) -> None:
    crowd = crowd_of(attacker, own_users=True)
    group = group_of(attacker, crowd.sessions[0], all_of_them(attacker)[:500])
    for seq in itertools.count(1):
        for connection in list(crowd.sessions):
            if len(connection.free_ids) > 1:
                crowd.request(connection, RequestName.MS, body_of(to={"group": group}, data="x"))
                recalled = body_of(conversation=f"group:{group}", seq=seq)
                crowd.request(connection, RequestName.MR, recalled)
        crowd.take(0.1)


# --- Backends


@flood("key-cancel-storm", "broadcasts to all sessions of a topic, each cancelled at once", "http")
def key_cancel_storm(attacker: Attacker) -> None:
    crowd = following(attacker)
    push = {"to": {"topic": TOPIC}, "data": "x", "ttl": 60}
    while True:
        answer = call(attacker, "POST", "/v1/push", push)
        if isinstance(answer, dict) and "id" in answer:
            call(attacker, "DELETE", f"/v1/messages/{answer['id']}")
        crowd.take(0)


@flood("key-webhook-tests", "tests of an endpoint that does not answer, and its attempts", "http")
def key_webhook_tests(attacker: Attacker) -> None:
    endpoint = {"url": "https://8.8.8.8/push", "types": ["chat.message"]}
    made = call(attacker, "POST", "/v1/webhooks", endpoint)
    if not isinstance(made, dict) or "id" not in made:
        attacker.answers[str(made)] += 1
        time.sleep(1)
        return
    asked = [("POST", f"/v1/webhooks/{made['id']}/test", None)] * 10
    asked += [("GET", f"/v1/webhooks/{made['id']}/attempts?limit=100", None)]
    pipelined(b"".join([request_of(attacker, each) for each in asked]))(attacker)


@flood("key-pages", "the sessions and the members of a large group, page by page", "http")
def key_pages(attacker: Attacker) -> None:
    crowd = crowd_of(attacker)
    members = [f"member{number:03}" for number in range(499)]
    body = {"owner": f"attacker{attacker.number}", "name": "x", "members": members}
    made = call(attacker, "POST", "/v1/groups", body)
    assert isinstance(made, dict)
    key, pages = attacker.target.api_key, []
    for member in members[::PAGE]:
        cursor = make_cursor("members", member)
        path = f"/v1/groups/{made['group']}/members?limit=200&cursor={cursor}"
        pages += [http_request("GET", path, key)]
        pages += [http_request("GET", "/v1/connections?limit=200", key)]
    data = b"".join(pages)
    connections = [attacker.dial("http") for _ in range(MANY)]
    while True:
        for connection in connections:
            connection.send(data)
            crowd.take(0)


@flood("key-fifty", "pushes to fifty tokens each, over sixty connections at a time", "http")
def key_fifty(attacker: Attacker) -> None:
    tokens = [f"nobody{number:07}" for number in range(FEW)]
    body = json.dumps({"to": {"tokens": tokens}, "data": "x" * 100}).encode()
    request = http_request("POST", "/v1/push", attacker.target.api_key, body)
    connections = [attacker.dial("http") for _ in range(MANY)]
    while True:
        for connection in connections:
            connection.send(request)
        for connection in connections:
            connection.wait(0)


@flood("key-repeated-batches", "batches of 1,000 whose items have keys, each sent twice", "http")
def key_repeated_batches(attacker: Attacker) -> None:
    tokens = [pair["token"] for pair in attacker.target.pairs]
    connection = attacker.dial("http")
    for number in itertools.count():
        items = [
            {
                "to": {"token": tokens[n % len(tokens)]},
                "data": n,
                "idempotency_key": f"{attacker.number}.{time.monotonic_ns()}.{number}.{n}",
            }
            for n in range(1000)
        ]
        body = json.dumps(items).encode()
        request = http_request("POST", "/v1/push/batch", attacker.target.api_key, body)
        for _ in range(2):
            connection.send(request)
            connection.wait(30)


@flood("fetched-late", "a hundred messages for each device of a crowd, fetched at one moment")
def fetched_late(attacker: Attacker) -> None:
    crowd = crowd_of(attacker)
    while True:
        for connection in crowd.sessions:
            connection.frame(Signal.DISCONNECT, b'{"code":"bye"}')
            connection.close()
        target = {"tokens": [pair["token"] for pair in attacker.crowd]}
        for _ in range(5):
            items = [{"to": target, "data": "x" * 500, "ttl": 60}] * 20
            call(attacker, "POST", "/v1/push/batch", items)
        time.sleep(AT_ONCE_SECONDS - time.time() % AT_ONCE_SECONDS)
        crowd = crowd_of(attacker)
        crowd.take(1.0)
