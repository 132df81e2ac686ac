"""Asking a local Redis server how it is, and ending one that is nobody's child any more."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Any

from twisted.internet.defer import TimeoutError as DeferredTimeout
from twisted.internet.endpoints import UNIXClientEndpoint
from twisted.internet.error import ConnectError, ConnectionClosed
from twisted.internet.interfaces import IAddress
from twisted.internet.protocol import Factory
from txredisapi import ConnectionError as RedisConnectionError
from txredisapi import RedisError, RedisProtocol

from push.daemons.process.file_lock import may_hold
from push.runtime.ports import Clock
from push.runtime.tasks import within

ANSWER_SECONDS = 5.0
AWAY = (ConnectError, ConnectionClosed, RedisConnectionError, DeferredTimeout)


class Loading(int):
    """The server reads its data in; the number is how much of it it has read, in percent."""


class _QuietFactory(Factory):
    noisy = False  # a start makes dozens of connections, and each would be two lines of the log

    def buildProtocol(self, addr: IAddress | None) -> RedisProtocol:
        return RedisProtocol(charset=None, convertNumbers=False)


async def ask(reactor: Clock, socket_path: str, *command: bytes) -> Any:
    """One command on a connection of its own. Raises one of AWAY, or RedisError from the server."""
    endpoint = UNIXClientEndpoint(reactor, socket_path, timeout=ANSWER_SECONDS)
    protocol = await endpoint.connect(_QuietFactory())
    try:
        answer = protocol.execute_command(*command)
        return await within(ANSWER_SECONDS, reactor, answer, DeferredTimeout)
    finally:
        protocol.transport.abortConnection()


async def probe(reactor: Clock, socket_path: str) -> Loading | bool:
    """True: it answers. `Loading`: it will. False: it cannot be reached, or says nothing."""
    try:
        await ask(reactor, socket_path, b"PING")
    except AWAY:
        return False
    except RedisError as error:
        if str(error).startswith("LOADING"):
            return await _loading(reactor, socket_path)
    return True


async def _loading(reactor: Clock, socket_path: str) -> Loading | bool:
    try:
        answer: bytes = await ask(reactor, socket_path, b"INFO", b"persistence")
    except (*AWAY, RedisError):
        return False
    fields = dict(line.split(b":", 1) for line in answer.split(b"\r\n") if b":" in line)
    return Loading(float(fields.get(b"loading_loaded_perc", b"0")))


async def shut_down(reactor: Clock, socket_path: str) -> None:
    """Ask the server to write what it has and end. It may have ended already."""
    try:
        await ask(reactor, socket_path, b"SHUTDOWN")
    except (*AWAY, RedisError):
        return  # a server that ends does not answer


def kill_holder(pid_file: Path, lock_file: Path) -> int | None:
    """SIGKILL the server of `pid_file` if it does hold the lock; its process id, if so.

    The number alone is not enough: it may be another program's by now.
    """
    try:
        pid = int(pid_file.read_text())
        if not may_hold(pid, lock_file):
            return None
        os.kill(pid, signal.SIGKILL)
    except (OSError, ValueError):
        return None
    return pid
