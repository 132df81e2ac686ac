"""What only the asyncio client does: in the child of a fork, in which the loop is another."""

from __future__ import annotations

import asyncio
from typing import Any

from device_server import DeviceServer, run
from forking import in_child

from push.sdk import errors
from push.sdk.aio import Message, PushClient
from tests.waiting import DEADLINE_SECONDS


def client_of(server: DeviceServer, **options: Any) -> PushClient:
    return PushClient([server.url], token="T", secret="S", random=lambda: 0.0, **options)


async def next_of(client: PushClient) -> Message:
    async with asyncio.timeout(DEADLINE_SECONDS):
        return await anext(client)


def test_a_client_that_runs_says_in_the_child_of_a_fork_that_it_is_the_parents():
    def use(client: PushClient, message: Message) -> list[str]:
        async def raised(call: Any) -> str:
            try:
                await call
            except errors.OtherProcess as error:
                return str(error)
            return "nothing"

        async def main() -> list[str]:
            found = [
                await raised(client.publish("TS", {"topic": "t"})),
                await raised(client.renew("j")),
                await raised(client.register()),
                await raised(client.wait_connected()),
                await raised(anext(client)),
                await raised(message.ack()),
                await raised(client.chat("b").send(1)),
            ]
            await client.close()  # not a word to the server
            return found

        return asyncio.run(main())

    async def test() -> None:
        async with DeviceServer() as server, client_of(server, acks="explicit") as client:
            peer = await server.accept()
            await peer.welcome()
            peer.push(1, "m1")
            message = await next_of(client)
            for said in in_child(lambda: use(client, message)):
                assert "make another" in said
            await message.ack()
            assert await peer.take_acks(1) == [1], "the parent's connection is as it was"

    run(test())


def test_a_client_that_was_not_started_before_the_fork_runs_in_the_child():
    async def test() -> None:
        async with DeviceServer() as server:
            client = client_of(server)

            async def connect() -> str:
                async with client:
                    return (await client.wait_connected()).session

            loop = asyncio.get_running_loop()
            child = loop.run_in_executor(None, in_child, lambda: asyncio.run(connect()))
            peer = await server.accept()
            await peer.welcome()
            await peer.gone()
            assert await child == "s1"

    run(test())
