"""`pushctl reshard` as a process that is killed in the middle, or that kills a server:
`killed.py NAME:COUNT[:SIGNAL] PID -- ARGUMENTS`, at that answer to the command or script NAME."""

from __future__ import annotations

import os
import signal
import sys
from typing import Any

from push.pushctl.main import main
from push.redis.client import RedisClient
from push.redis.connection.protocols import CommandProtocol

place, pid, _, *arguments = sys.argv[1:]
name, count, how = f"{place}:SIGKILL".split(":")[:3]
left = int(count)
scripts: dict[str, str] = {}

original_run, original_call = RedisClient.run, CommandProtocol.call


async def run(self: Any, script: Any, *more: Any, **options: Any) -> Any:
    scripts[script.sha] = script.name
    return await original_run(self, script, *more, **options)


def call(self: Any, *command: Any) -> Any:
    word = command[0].decode() if isinstance(command[0], bytes) else command[0]
    said = scripts.get(str(command[1]), "") if word == "EVALSHA" else word
    answer = original_call(self, *command)
    return answer.addCallback(answered) if said == name else answer


def answered(reply: Any) -> Any:
    global left
    left -= 1
    if left == 0:
        os.kill(int(pid) or os.getpid(), getattr(signal, how))
    return reply


RedisClient.run = run  # type: ignore[method-assign]
CommandProtocol.call = call  # type: ignore[method-assign]
main(["reshard", *arguments])
