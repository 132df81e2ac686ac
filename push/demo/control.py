"""The socket on which the daemon asks for a bad network: a line of JSON, and a line back."""

from __future__ import annotations

import asyncio
from pathlib import Path

import msgspec

from push.demo.network import PageNetwork
from push.http.demo.bodies import CutDone, CutOrder

MAX_LINE_BYTES = 4096

_decode = msgspec.json.Decoder(CutOrder).decode


async def serve_orders(network: PageNetwork, path: Path) -> asyncio.Server:
    """Listen on a unix socket, in a folder that only this user may enter."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            order = _decode(await reader.readline())
            writer.write(msgspec.json.encode(CutDone(network.cut(order))) + b"\n")
            await writer.drain()
        except (msgspec.DecodeError, ValueError, OSError):
            pass  # no order, or nobody who waits for the answer
        finally:
            writer.close()

    return await asyncio.start_unix_server(answer, path, limit=MAX_LINE_BYTES)
