"""A device in the terminal: what `pushctl listen` runs."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Any

from push.pushctl.terminal import output
from push.pushctl.terminal.options import Common
from push.sdk.address import parse_server, without_fallback
from push.sdk.aio import ClientState, Message, PushClient
from push.sdk.chat_events import GROUP_CHANGE
from push.sdk.errors import ConnectionFailed


@dataclass(frozen=True, slots=True)
class Listening:
    """What to listen as, and until when. `seconds` bounds the whole, None: forever."""

    options: dict[str, Any]
    common: Common
    acknowledge: bool
    count: int | None
    seconds: float | None


def format_message(message: Message) -> str:
    """One line for people: time, stream, title and body or the data."""
    parts = [output.utc_time(message.ts), message.stream or "-"]
    if message.kind is not None:
        parts.append(f"[{message.kind}]")
    if message.title is not None:
        parts.append(f"{message.title}:")
    if message.body is not None:
        parts.append(message.body)
    if message.kind == GROUP_CHANGE:
        parts.append(_group_change(message))
    if message.data is not None:
        parts.append(output.one_line(message.data))
    return " ".join(parts)


def _group_change(message: Message) -> str:
    """`group g: added ada, ben by cleo`; of a later server's event, what there is of it."""
    fields = message.fields
    text = f"group {fields.get('group')}: {fields.get('event')}"
    users = fields.get("users")
    if isinstance(users, list) and users:
        text += f" {', '.join(map(str, users))}"
    return f"{text} by {fields['by']}" if fields.get("by") is not None else text


def format_truncation(message: Message) -> str:
    """What is lost; from where to where is known only when the session was live."""
    first, last = message.fields.get("from"), message.fields.get("to")
    where = f" (from {first} to {last})" if first is not None and last is not None else ""
    return f"unread messages of {message.stream} are gone{where}"


class _Status:
    """Reports the state of the connection on standard error.

    Before the first session, a failure at every server is final: a user who typed a wrong
    address wants to know, not to wait.
    """

    def __init__(self, servers: int, common: Common) -> None:
        self.client: PushClient | None = None
        self.failed: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self._servers_left = servers
        self._common = common
        self._told = ""

    def __call__(self, state: ClientState, detail: str) -> None:
        if state is ClientState.CONNECTED:
            self._servers_left, self._told = -1, ""
            self._common.notice(f"connected to {detail}{self._identity()}")
        elif state is ClientState.WAITING and self._servers_left < 0:
            if detail != self._told:  # not once for each attempt
                self._common.notice(f"{detail}; connecting again")
            self._told = detail
        elif state is ClientState.WAITING:
            self._servers_left -= 1
            if self._servers_left == 0 and not self.failed.done():
                self.failed.set_exception(ConnectionFailed(detail))

    def _identity(self) -> str:
        pair = self.client.credentials if self.client is not None else None
        return f" as {pair.token}" if pair is not None else ""


async def listen(listening: Listening) -> int:
    """Print messages as they come; how many. Raises the SDK's errors and `TimeoutError`."""
    servers = without_fallback(map(parse_server, listening.options["servers"]))
    status = _Status(len(servers), listening.common)
    client = PushClient(acks="explicit", on_state=status, **listening.options)
    status.client = client
    async with client:
        printing = asyncio.ensure_future(_print_messages(client, listening))
        ends: list[asyncio.Future[int]] = [printing, status.failed]
        try:
            async with asyncio.timeout(listening.seconds):
                await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
            return await (printing if printing.done() else status.failed)
        finally:
            printing.cancel()
            status.failed.cancel()
            await asyncio.wait([printing])


async def _print_messages(client: PushClient, listening: Listening) -> int:
    """A message is acknowledged as soon as it is printed, not when the next one comes.

    A truncation is no message: it is told on stderr, as JSON beside the messages too, and does not
    count.
    """
    printed = 0
    async for message in client:
        if message.truncated:
            listening.common.notice(format_truncation(message))
            if listening.common.json:
                output.print_json(message.raw)
            continue
        if listening.common.json:
            output.print_json(message.raw)
        else:
            output.say(format_message(message))
        if listening.acknowledge:
            await message.ack()
        printed += 1
        if printed == listening.count:
            break
    return printed
