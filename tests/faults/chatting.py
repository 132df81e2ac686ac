"""Devices of people who talk, in a process of their own, by the SDK. Argument: a file, see `Plan`.

What arrives is in the device's record before it is acknowledged; what is said is there before it is
sent, and its answer after. Lines on standard input: see `Device`. The end of it ends the process.
"""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path
from typing import Any

import msgspec

from push.sdk.aio import ClientState, PushClient
from push.sdk.chat_types import Sent
from push.sdk.errors import ConnectionFailed, PushError, RequestRefused

BACK_OFF = 0.1  # see device.py
SEND_SECONDS = 10.0
SAID_TWICE_EVERY = 5


class Talker(msgspec.Struct):
    """A device of `user`, what it writes down, and to whom it talks."""

    user: str
    token: str
    secret: str
    record: str
    conversations: list[str]


class Plan(msgspec.Struct):
    """`pace_seconds` is between two messages of a device; the first of a user's devices reads."""

    servers: list[str]
    talkers: list[Talker]
    pace_seconds: float


class Device:
    """One device.

    It talks until `quiet`. `read` has the first device of each user say that it read all that
    arrived there. `list` writes down what the conversations are. `again` connects anew.
    """

    def __init__(self, talker: Talker, plan: Plan, *, first: bool) -> None:
        self._talker = talker
        self._plan = plan
        self._first = first
        self._file = os.open(talker.record, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        self._quiet = asyncio.Event()
        self._client: PushClient | None = None
        self._latest: dict[str, int] = {}
        self._again = asyncio.Event()

    def _write(self, *items: object) -> None:
        os.write(self._file, msgspec.json.encode(items) + b"\n")

    def _on_state(self, state: ClientState, detail: str) -> None:
        self._write("state", state.value, detail)

    def _new_client(self) -> PushClient:
        return PushClient(
            self._plan.servers,
            token=self._talker.token,
            secret=self._talker.secret,
            acks="explicit",
            random=lambda: BACK_OFF,
            on_state=self._on_state,
        )

    async def run(self) -> None:
        try:
            talking: asyncio.Task[None] | None = None
            while True:
                self._again.clear()
                async with self._new_client() as client:
                    self._client = client
                    if talking is None:
                        talking = asyncio.create_task(self._talk())
                    taking = asyncio.create_task(self._take(client))
                    again = asyncio.create_task(self._again.wait())
                    await asyncio.wait([taking, again], return_when=asyncio.FIRST_COMPLETED)
                    taking.cancel()
                    await asyncio.gather(taking, return_exceptions=True)
        except PushError as error:
            self._write("state", "error", str(error))

    async def _take(self, client: PushClient) -> None:
        async for message in client:
            fields = message.fields
            conversation = fields.get("conversation", "")
            if message.kind == "chat":
                seq = fields["seq"]
                self._latest[conversation] = max(seq, self._latest.get(conversation, 0))
            if message.kind in ("chat", "group", "receipt", "truncated"):
                offset = int(message.offset or 0)
                self._write(message.kind, message.id, message.stream, offset, fields)
            await message.ack()

    async def _talk(self) -> None:
        await self._now().wait_connected()
        number = 0
        while not self._quiet.is_set():
            conversations = self._talker.conversations
            conversation = conversations[number % len(conversations)]
            number += 1
            client_id = f"{Path(self._talker.record).stem}-{number}"
            self._write("said", client_id, conversation)
            await self._say(client_id, conversation)
            if number % SAID_TWICE_EVERY == 0:
                await self._say(client_id, conversation)
            await asyncio.sleep(self._plan.pace_seconds)
        self._write("quiet")

    async def _say(self, client_id: str, conversation: str) -> None:
        """The same until there is a clear answer."""
        while True:
            chat = self._now().conversation(conversation)
            try:
                sent: Sent = await chat.send(client_id, client_id=client_id, timeout=SEND_SECONDS)
            except ConnectionFailed as error:
                self._write("unclear", client_id, str(error))
                continue
            except RequestRefused as refused:
                self._write("refused", client_id, refused.code)
                return
            self._write("answered", client_id, sent.id, sent.conversation, sent.seq)
            return

    def _now(self) -> PushClient:
        assert self._client is not None
        return self._client

    async def do(self, command: str) -> None:
        if command == "quiet":
            self._quiet.set()
        elif command == "again":
            self._again.set()
        elif command == "read" and self._first:
            for conversation, seq in list(self._latest.items()):
                try:
                    positions = await self._now().conversation(conversation).read(seq)
                except RequestRefused as refused:
                    self._write("unread", conversation, refused.code)
                else:
                    self._write("read", conversation, positions.read)
            self._write("has read")
        elif command == "list":
            rows: dict[str, Any] = {}
            async for row in self._now().conversations():
                rows[row.conversation] = [row.seq, row.delivered, row.read, row.unread]
            self._write("list", rows)


async def main(plan: Plan) -> None:
    loop = asyncio.get_running_loop()
    users: set[str] = set()
    devices = []
    for talker in plan.talkers:
        devices.append(Device(talker, plan, first=talker.user not in users))
        users.add(talker.user)
    running = [loop.create_task(device.run()) for device in devices]
    reader = asyncio.StreamReader()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    while line := await reader.readline():
        await asyncio.gather(*(device.do(line.decode().strip()) for device in devices))
    for task in running:
        task.cancel()
    await asyncio.wait(running)


if __name__ == "__main__":
    asyncio.run(main(msgspec.json.decode(Path(sys.argv[1]).read_bytes(), type=Plan)))
