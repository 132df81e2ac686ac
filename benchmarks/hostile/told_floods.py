"""Floods of requests that many others are told of, or whose answers are long to make: each session
keeps to its rates."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterable
from http.client import HTTPConnection

from benchmarks.hostile.attacker import Attacker, flood
from benchmarks.hostile.backlog_floods import group_of
from benchmarks.hostile.crowd_floods import (
    all_of_them,
    ask_in_turn,
    crowd_of,
)
from benchmarks.hostile.crowds import WAIT_SECONDS
from benchmarks.hostile.request_floods import body_of
from push.wire.signals import RequestName

CONVERSATIONS = 100
MESSAGES = 200
MOST_TOLD_OF_READING = 200  # members of a group


def user_of(attacker: Attacker) -> str:
    return f"attacker{attacker.number}"


def receive(attacker: Attacker, senders: Iterable[str]) -> None:
    """A message of each to the user of this attacker, by HTTP."""
    backend = HTTPConnection("127.0.0.1", attacker.target.http, timeout=WAIT_SECONDS)
    headers = {
        "Authorization": f"Bearer {attacker.target.api_key}",
        "Content-Type": "application/json",
    }
    with contextlib.closing(backend):
        for sender in senders:
            body = json.dumps({"from": sender, "data": "x"})
            backend.request("POST", f"/v1/users/{user_of(attacker)}/messages", body, headers)
            backend.getresponse().read()


@flood("lists-full", "CL of a user with a hundred conversations")
def lists_full(attacker: Attacker) -> None:
    if not attacker.is_prepared:
        attacker.is_prepared = True
        receive(attacker, (f"peer{number}" for number in range(CONVERSATIONS)))
    ask_in_turn(crowd_of(attacker), (RequestName.CL, body_of(limit=200)))


@flood("histories-full", "MP of two hundred small messages")
def histories_full(attacker: Attacker) -> None:
    if not attacker.is_prepared:
        attacker.is_prepared = True
        receive(attacker, ["peer"] * MESSAGES)
    body = body_of(conversation="user:peer", limit=MESSAGES)
    ask_in_turn(crowd_of(attacker), (RequestName.MP, body))


@flood("members-full", "GPGM of two hundred members of a large group")
def members_full(attacker: Attacker) -> None:
    crowd = crowd_of(attacker)
    members = [f"member{number}" for number in range(499)]
    group = group_of(attacker, crowd.sessions[0], members)
    ask_in_turn(crowd, (RequestName.GPGM, body_of(group=group, limit=200)))


@flood("crowd-receipts", "a group of 200, each of whom has read each message; all are told")
def crowd_receipts(attacker: Attacker) -> None:
    crowd = crowd_of(attacker, own_users=True)
    one = crowd.sessions[0]
    group = group_of(attacker, one, all_of_them(attacker)[: MOST_TOLD_OF_READING - 1])
    seq = 0
    while True:
        seq += 1
        crowd.request(one, RequestName.MS, body_of(to={"group": group}, data="x"))
        for connection in list(crowd.sessions):
            body = body_of(conversation=f"group:{group}", read=seq)
            if connection.free_ids:
                crowd.request(connection, RequestName.MRN, body)
        crowd.take(1.0)


@flood("crowd-typing", "a group of all sessions of all attackers, in which each types")
def crowd_typing(attacker: Attacker) -> None:
    crowd = crowd_of(attacker, own_users=True)
    group = group_of(attacker, crowd.sessions[0], all_of_them(attacker)[:500])
    ask_in_turn(crowd, (RequestName.TP, body_of(conversation=f"group:{group}")))
