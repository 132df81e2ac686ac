"""Devices in a process of their own, by the SDK. Argument: a JSON file, see `Plan`.

Every message is in the device's record before it is acknowledged, so that a SIGKILL loses nothing
that the server may count as done. A line "calm" on standard input ends the restlessness of restless
devices; the end of standard input ends the process.
"""

from __future__ import annotations

import asyncio
import os
import random
import sys
import time
from pathlib import Path

import msgspec

from push.sdk.aio import ClientState, PushClient
from push.sdk.errors import PushError

# What stands in for a random number in the SDK's back-off: a tenth of the longest delay, so that
# tests do not wait for minutes.
BACK_OFF = 0.1
RESTLESS_SECONDS = 0.2


class One(msgspec.Struct):
    """A device, and the file that gets a line for each message and each change of state."""

    token: str
    secret: str
    record: str


class Plan(msgspec.Struct):
    """`servers` or, when they are to be asked for, `servers_url` and the app's `key`.

    `restless`: connect again after at most `RESTLESS_SECONDS` or a few messages. `patient`: with
    the SDK's own back-off.
    """

    servers: list[str]
    devices: list[One]
    servers_url: str | None = None
    key: str | None = None
    restless: bool = False
    patient: bool = False


class Device:
    """One device."""

    def __init__(self, one: One, plan: Plan, calm: asyncio.Event) -> None:
        self._one = one
        self._plan = plan
        self._calm = calm
        self._file = os.open(one.record, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        self._random = random.Random(one.token)

    def _write(self, *items: object) -> None:
        os.write(self._file, msgspec.json.encode(items) + b"\n")

    def _client(self) -> PushClient:
        return PushClient(
            self._plan.servers,
            servers_url=self._plan.servers_url,
            key=self._plan.key,
            token=self._one.token,
            secret=self._one.secret,
            acks="explicit",
            random=random.random if self._plan.patient else lambda: BACK_OFF,
            on_state=self._on_state,
        )

    def _on_state(self, state: ClientState, detail: str) -> None:
        self._write("s", state.value, detail, time.monotonic())

    async def run(self) -> None:
        try:
            while not self._calm.is_set():
                async with self._client() as client:
                    await self._a_few(client)
            async with self._client() as client:
                await self._take(client, None)
        except PushError as error:
            self._write("s", "error", str(error), time.monotonic())

    async def _a_few(self, client: PushClient) -> None:
        count = self._random.randrange(0, 20)
        await client.wait_connected()
        try:
            async with asyncio.timeout(self._random.random() * RESTLESS_SECONDS):
                await self._take(client, count)
        except TimeoutError:
            return

    async def _take(self, client: PushClient, count: int | None) -> None:
        """Receive and acknowledge `count` messages, or for ever."""
        taken = 0
        while count is None or taken < count:
            message = await anext(client)
            taken += 1
            if message.kind is None:
                offset = int(message.offset or 0)
                self._write("m", message.id, message.stream, offset, message.data["n"])
            await message.ack()


async def main(plan: Plan) -> None:
    calm, end = asyncio.Event(), asyncio.Event()
    if not plan.restless:
        calm.set()
    loop = asyncio.get_running_loop()

    def told() -> None:
        if os.read(0, 100):
            calm.set()
        else:
            end.set()
            loop.remove_reader(0)

    loop.add_reader(0, told)
    devices = [Device(one, plan, calm) for one in plan.devices]
    running = [loop.create_task(device.run()) for device in devices]
    ended = loop.create_task(end.wait())
    await asyncio.wait([ended])
    for task in running:
        task.cancel()
    await asyncio.wait(running)


if __name__ == "__main__":
    asyncio.run(main(msgspec.json.decode(Path(sys.argv[1]).read_bytes(), type=Plan)))
