"""What both device clients do, against a scripted server on real sockets."""

from __future__ import annotations

import asyncio
import contextlib
from pathlib import Path
from typing import Any

import pytest
from both import ClientState, PushClient
from device_server import (
    ACCEPTED,
    Certificate,
    DeviceServer,
    Peer,
    make_certificate,
    run,
    until,
)

from push.sdk import errors
from push.sdk.credentials import Credentials
from push.session.client import liveness as client_liveness
from push.wire.signals import ConnectStatus, Signal
from tests.waiting import DEADLINE_SECONDS

pytestmark = pytest.mark.usefixtures("each_client")


def at_once() -> float:
    """No jitter: a reconnect follows at once."""
    return 0.0


def client_of(server: DeviceServer, **options: Any) -> Any:
    pair = {} if {"jwt", "key"} & options.keys() else {"token": "T", "secret": "S"}
    return PushClient([server.url], **({"random": at_once} | pair | options))


async def next_of(client: Any) -> Any:
    async with asyncio.timeout(DEADLINE_SECONDS):
        return await anext(client)


async def ended(client: Any) -> BaseException:
    """What comes out of the iterator in the end."""
    with pytest.raises(Exception) as caught:  # noqa: PT011
        await next_of(client)
    return caught.value


@pytest.fixture
def certificate(tmp_path: Path) -> Certificate:
    return make_certificate(tmp_path)


# --- The session ---------------------------------------------------------------------------------


def test_connects_with_what_it_was_given_and_says_bye():
    async def test() -> None:
        async with DeviceServer() as server:
            states: list[ClientState] = []
            client = client_of(
                server,
                heartbeat=20,
                window=8,
                max_frame=8192,
                on_state=lambda state, detail: states.append(state),
            )
            async with client:
                peer = await server.accept()
                body = await peer.welcome(user="ada", heartbeat=20)
                assert body == {
                    "token": "T",
                    "secret": "S",
                    "heartbeat": 20,
                    "window": 8,
                    "max_frame": 8192,
                    "sdk": body["sdk"],
                }
                connected = await client.wait_connected()
                assert (connected.user, connected.heartbeat_seconds) == ("ada", 20)
                assert client.state is ClientState.CONNECTED
                closing = asyncio.ensure_future(client.close())
                await peer.gone()
                await closing
            assert states[:2] == [ClientState.CONNECTING, ClientState.CONNECTED]
            assert states[-1] is ClientState.CLOSED
            with pytest.raises(StopAsyncIteration):
                await anext(client)

    run(test())


def test_automatic_acknowledgement_comes_when_the_next_message_is_asked_for():
    async def test() -> None:
        async with DeviceServer() as server:
            async with client_of(server) as client:
                peer = await server.accept()
                await peer.welcome()
                for number in (1, 2, 3):
                    peer.push(number, f"m{number}")
                assert (await next_of(client)).id == "m1"
                peer.push(0, "m4")
                await until(lambda: len(client._core.inbox) == 3)
                # An acknowledgement would be here by now: a request comes after it.
                asking = asyncio.ensure_future(client.publish("TS", {"topic": "t"}))
                frame, _ = await peer.take(Signal.PUBLISH)
                peer.send(Signal.PUB_ACK, {"ok": True}, frame.sub_signal, frame.message_id)
                await asking
                assert (await next_of(client)).data == "m2"
                assert await peer.take_acks(1) == [1]
                assert (await next_of(client)).data == "m3"
                last = await next_of(client)
                assert (last.data, last.qos) == ("m4", 0)
                assert await peer.take_acks(2) == [2, 3]
                peer.push(5, "m5")
                assert (await next_of(client)).id == "m5"
            assert await peer.take_acks(1) == [5]  # the block ended well
            await peer.gone()

    run(test())


def test_a_block_that_fails_does_not_acknowledge_the_message_in_hand():
    async def test() -> None:
        async with DeviceServer() as server:
            with contextlib.suppress(ZeroDivisionError):
                async with client_of(server) as client:
                    peer = await server.accept()
                    await peer.welcome()
                    peer.push(1, "m1")
                    await next_of(client)
                    raise ZeroDivisionError
            await peer.gone()

    run(test())


def test_the_last_acknowledgements_arrive_also_when_more_is_on_its_way():
    async def test() -> None:
        async with DeviceServer() as server, client_of(server, acks="explicit") as client:
            peer = await server.accept()
            await peer.welcome()
            peer.push(1, "m1")
            message = await next_of(client)
            for number in range(2, 2000):
                peer.push(number, f"m{number}", data="x" * 1000)
            await message.ack()
            closing = asyncio.ensure_future(client.close())
            assert await peer.take_acks(1) == [1]
            await peer.gone()
            await closing

    run(test())


def test_explicit_acknowledgement_is_the_applications():
    async def test() -> None:
        async with DeviceServer() as server:
            async with client_of(server, acks="explicit") as client:
                peer = await server.accept()
                await peer.welcome()
                for number in (1, 2, 3):
                    peer.push(number, f"m{number}")
                _, second, third = [await next_of(client) for _ in range(3)]
                await third.ack()
                await second.ack()
                await second.ack()
                assert await peer.take_acks(2) == [3, 2]
            await peer.gone()

    run(test())


def test_copies_that_come_while_a_message_waits_or_is_handled_are_acknowledged_and_not_handled():
    """However slow the application is: each message once, each copy acknowledged."""

    async def test() -> None:
        async with DeviceServer() as server:
            async with client_of(server) as client:
                peer = await server.accept()
                await peer.welcome()
                for number in (1, 2, 3):
                    peer.push(number, f"m{number}")
                assert (await next_of(client)).id == "m1"
                for number in (1, 2, 1):  # m1 is being handled, m2 waits in the queue
                    peer.push(number, f"m{number}")
                peer.push(0, "heard")
                await until(lambda: len(client._core.inbox) == 3)
                assert (await next_of(client)).id == "m2"
                assert await peer.take_acks(3) == [1, 1, 1]
                assert (await next_of(client)).id == "m3"
                assert await peer.take_acks(2) == [2, 2]
                peer.push(1, "m1")  # a copy that was on its way meanwhile
                assert await peer.take_acks(1) == [1]
                assert (await next_of(client)).id == "heard"
            assert await peer.take_acks(1) == [3]
            await peer.gone()

    run(test())


def test_a_released_message_is_delivered_again_with_its_next_copy():
    async def test() -> None:
        async with DeviceServer() as server, client_of(server, acks="explicit") as client:
            peer = await server.accept()
            await peer.welcome()
            peer.push(1, "m1")
            (await next_of(client)).release()
            peer.push(1, "m1")
            await (await next_of(client)).ack()
            assert await peer.take_acks(2) == [1, 1]

    run(test())


def test_a_full_queue_drops_qos_0_only_and_keeps_the_order_of_the_rest():
    async def test() -> None:
        async with DeviceServer() as server, client_of(server, queue_messages=2) as client:
            peer = await server.accept()
            await peer.welcome()
            for number in (1, 0, 2, 0, 3, 4, 0, 5):
                peer.push(number, f"m{number}")
            await until(lambda: client.dropped_messages == 2)
            came = [(await next_of(client)).id for _ in range(6)]
            assert came == ["m1", "m0", "m2", "m3", "m4", "m5"]
            assert await peer.take_acks(4) == [1, 2, 3, 4]

    run(test())


def test_a_queue_full_of_qos_0_costs_no_acknowledged_message_its_place():
    async def test() -> None:
        async with DeviceServer() as server, client_of(server, queue_messages=3) as client:
            peer = await server.accept()
            await peer.welcome()
            for n in range(20):
                peer.push(0, f"live{n}")
            for number in range(1, 65):
                peer.push(number, f"m{number}")
            await until(lambda: len(client._core.inbox) == 3 + 64)
            came = [(await next_of(client)).id for _ in range(67)]
            assert came == [f"live{n}" for n in range(3)] + [f"m{n}" for n in range(1, 65)]
            assert client.dropped_messages == 17

    run(test())


def test_a_truncation_is_iterated_over_at_its_place_among_the_messages():
    """From CONNECT_ACK before all messages, from a PUSH where it came; nothing is acknowledged."""

    async def test() -> None:
        async with DeviceServer() as server, client_of(server) as client:
            peer = await server.accept()
            await peer.welcome(truncated=["dev:T", "all"])
            gone = {"kind": "truncated", "stream": "all", "from": "3", "to": "7"}
            peer.push(1, "m1")
            peer.send(Signal.PUSH, gone)
            peer.push(2, "m2")
            assert (await client.wait_connected()).truncated == ("dev:T", "all")
            came = [await next_of(client) for _ in range(5)]
            assert [message.truncated for message in came] == [True, True, False, True, False]
            assert [message.stream for message in came] == ["dev:T", "all", "dev:T", "all", "dev:T"]
            assert [message.id for message in came] == ["", "", "m1", "", "m2"]
            assert came[0].fields == {}
            assert came[3].fields == {"from": "3", "to": "7"}
            assert (came[0].raw, came[0].qos) == ({"stream": "dev:T", "kind": "truncated"}, 0)
            assert await peer.take_acks(1) == [1]

    run(test())


def test_every_reconnect_tells_what_was_truncated_meanwhile():
    async def test() -> None:
        async with DeviceServer() as server, client_of(server) as client:
            await (peer := await server.accept()).welcome()
            peer.abort()
            await (await server.accept()).welcome(truncated=["all"])
            assert (await next_of(client)).truncated

    run(test())


def test_a_full_queue_does_not_drop_a_truncation():
    async def test() -> None:
        async with DeviceServer() as server, client_of(server, queue_messages=1) as client:
            peer = await server.accept()
            await peer.welcome(truncated=["dev:T", "all"])
            peer.push(0, "m1")
            peer.push(0, "gone", kind="truncated")
            await until(lambda: client.dropped_messages == 1)
            assert [(await next_of(client)).truncated for _ in range(3)] == [True] * 3

    run(test())


def test_a_reconnect_delivers_once_what_comes_twice():
    async def test() -> None:
        async with DeviceServer() as server, client_of(server) as client:
            peer = await server.accept()
            await peer.welcome()
            peer.push(1, "m1")
            peer.push(2, "m2")
            assert (await next_of(client)).id == "m1"
            await until(lambda: len(client._core.inbox) == 1)
            peer.abort()
            peer = await server.accept()
            await peer.welcome()
            for number, name in enumerate(("m1", "m2", "m3"), 11):
                peer.push(number, name)
            assert [(await next_of(client)).id for _ in range(2)] == ["m2", "m3"]
            assert await peer.take_acks(2) == [11, 12]

    run(test())


def test_a_user_session_continues_where_it_was():
    async def test() -> None:
        async with DeviceServer() as server, client_of(server, jwt="j") as client:
            peer = await server.accept()
            assert "cursors" not in await peer.welcome(streams={"all": "10", "user:u": "5"})
            peer.push(1, "m1", stream="all", offset="11")
            peer.push(2, "m2", stream="all", offset="12")
            await next_of(client)
            await next_of(client)
            await peer.take_acks(1)
            peer.abort()
            peer = await server.accept()
            body = await peer.welcome(streams={"all": "11", "user:u": "5"})
            assert body["cursors"] == {"all": "11", "user:u": "5"}

    run(test())


def test_silence_is_broken_by_pings():
    async def test() -> None:
        async with DeviceServer() as server, client_of(server) as client:
            peer = await server.accept()
            await peer.welcome(heartbeat=1)
            frame, _ = await peer.take(Signal.PING)
            peer.send(Signal.PING, {"interval": 300, "time": 1}, number=frame.message_id)
            peer.push(1, "m1")
            await next_of(client)

    run(test())


# --- The network changed -------------------------------------------------------------------------


def test_a_check_that_is_answered_leaves_the_connection_as_it_is():
    async def test() -> None:
        async with DeviceServer() as server, client_of(server) as client:
            peer = await server.accept()
            await peer.welcome()
            await client.wait_connected()
            checking = client.check()
            frame, body = await peer.take(Signal.PING)
            assert body == {}
            peer.send(Signal.PING, {"interval": 300, "time": 1}, number=frame.message_id)
            assert await checking is True
            peer.push(1, "m1")
            assert (await next_of(client)).id == "m1"

    run(test())


def test_a_check_without_an_answer_leads_to_a_new_connection_at_once(
    monkeypatch: pytest.MonkeyPatch,
):
    """With the delay of the back-off the test would take an hour."""
    monkeypatch.setattr(client_liveness, "CHECK_SECONDS", 0.1)

    async def test() -> None:
        async with DeviceServer() as server, client_of(server, random=lambda: 3600.0) as client:
            peer = await server.accept()
            await peer.welcome(heartbeat=300)
            await client.wait_connected()
            checking = client.check()
            await peer.take(Signal.PING)
            assert await checking is False
            await (await server.accept()).welcome(session="s2")
            assert (await client.wait_connected()).session == "s2"

    run(test())


def test_a_check_while_the_client_waits_for_its_next_try_makes_it_try_now():
    async def test() -> None:
        async with DeviceServer() as server, client_of(server, random=lambda: 3600.0) as client:
            peer = await server.accept()
            await peer.welcome()
            peer.abort()
            await until(lambda: "lost" in client.state_detail)
            checking = []
            while not server._peers.qsize():  # it is hanging up, and then waits
                checking.append(client.check())
                await asyncio.sleep(0.01)
            await (await server.accept()).welcome()
            await client.wait_connected()
            await asyncio.gather(*checking)

    run(test())


def test_a_check_does_not_shorten_what_the_server_asked_for():
    async def test() -> None:
        async with DeviceServer() as server, client_of(server) as client:
            peer = await server.accept()
            await peer.refuse(ConnectStatus.NOT_AUTHORIZED, code="banned", after=3600)
            await until(lambda: client.state is ClientState.WAITING)
            for _ in range(3):
                assert await client.check() is False
            assert client.state is ClientState.WAITING
            assert server._peers.empty()

    run(test())


def test_an_adaptive_heartbeat_asks_for_what_was_remembered_of_the_network():
    async def test() -> None:
        kept = {"home": 240, "train": 45}
        options = {"heartbeat": "adaptive", "heartbeat_memory": kept, "network": "home"}
        async with DeviceServer() as server, client_of(server, **options) as client:
            peer = await server.accept()
            assert (await peer.welcome(heartbeat=240))["heartbeat"] == 240
            await client.wait_connected()
            assert client.network == "home"
            client.network = "train"
            frame, body = await peer.take(Signal.PING)
            assert body == {"interval": 45}
            peer.send(Signal.PING, {"interval": 45, "time": 1}, number=frame.message_id)
            peer.push(1, "m1")
            await next_of(client)
            peer.abort()
            assert (await (await server.accept()).welcome())["heartbeat"] == 45

    run(test())


def test_a_memory_of_heartbeats_that_fails_hinders_nothing():
    """It may be a file, and the disk full."""

    class Broken(dict[str, int]):
        def __getitem__(self, name: str) -> int:
            raise OSError("disk full")

        __setitem__ = __getitem__  # type: ignore[assignment]

    async def test() -> None:
        options = {"heartbeat": "adaptive", "heartbeat_memory": Broken()}
        async with DeviceServer() as server, client_of(server, **options) as client:
            peer = await server.accept()
            await peer.welcome(heartbeat=1)
            frame, _ = await peer.take(Signal.PING)
            peer.send(Signal.PING, {"interval": 300, "time": 1}, number=frame.message_id)
            peer.push(1, "m1")
            assert (await next_of(client)).id == "m1"

    run(test())


# --- Requests ------------------------------------------------------------------------------------


def test_requests_get_their_answers_in_any_order():
    async def test() -> None:
        async with DeviceServer() as server, client_of(server) as client:
            calls = [asyncio.ensure_future(client.publish("TS", {"topic": name})) for name in "ab"]
            peer = await server.accept()
            await peer.welcome()
            asked = [await peer.take(Signal.PUBLISH) for _ in "ab"]
            frames = {body["topic"]: frame for frame, body in asked}
            first, second = frames["a"], frames["b"]
            assert first.sub_signal == 16
            bad = {"ok": False, "code": "invalid", "detail": "d", "field": "topic"}
            peer.send(Signal.PUB_ACK, bad, 16, second.message_id)
            peer.send(Signal.PUB_ACK, {"ok": True, "x": 1}, 16, first.message_id)
            assert await calls[0] == {"x": 1}
            with pytest.raises(errors.RequestRefused) as refused:
                await calls[1]
            assert (refused.value.code, refused.value.field) == ("invalid", "topic")

    run(test())


def test_the_65th_request_waits_for_an_answer():
    async def test() -> None:
        async with DeviceServer() as server, client_of(server) as client:
            peer = await server.accept()
            await peer.welcome()
            calls = [asyncio.ensure_future(client.publish("PS", {"n": n})) for n in range(70)]
            for _ in range(70):
                frame, _ = await peer.take(Signal.PUBLISH)
                peer.send(Signal.PUB_ACK, {"ok": True}, 19, frame.message_id)
            await asyncio.gather(*calls)

    run(test())


def test_typing_is_sent_without_an_id_and_not_waited_for():
    async def test() -> None:
        async with DeviceServer() as server, client_of(server) as client:
            peer = await server.accept()
            await peer.welcome()
            assert await client.publish("TP", {"conversation": "user:b"}) == {}
            frame, _ = await peer.take(Signal.PUBLISH)
            assert (frame.sub_signal, frame.message_id) == (18, 0)

    run(test())


def test_a_request_whose_connection_is_lost_fails_and_one_too_large_is_refused():
    async def test() -> None:
        async with DeviceServer() as server, client_of(server) as client:
            peer = await server.accept()
            await peer.welcome(max_frame=4096)
            call = asyncio.ensure_future(client.publish("TS", {"topic": "a"}))
            await peer.take(Signal.PUBLISH)
            with pytest.raises(errors.RequestRefused):
                await client.publish("MS", {"data": "x" * 5000})
            peer.abort()
            with pytest.raises(errors.ConnectionFailed):
                await call
            peer = await server.accept()
            with pytest.raises(errors.ConnectionFailed, match="no answer within"):
                await client.publish("TS", {"topic": "a"}, timeout=0.01)

    run(test())


def test_a_request_without_an_answer_leads_to_a_ping_and_then_to_a_new_connection(
    monkeypatch: pytest.MonkeyPatch,
):
    """The heartbeat is 300 s; the silence after a request is noticed long before."""
    monkeypatch.setattr(client_liveness, "REQUEST_SILENCE_SECONDS", 0.2)

    async def test() -> None:
        async with DeviceServer() as server, client_of(server) as client:
            peer = await server.accept()
            await peer.welcome(heartbeat=300)
            call = asyncio.ensure_future(client.publish("TS", {"topic": "a"}))
            await peer.take(Signal.PUBLISH)
            await peer.take(Signal.PING)  # and no answer
            with pytest.raises(errors.ConnectionFailed, match="of a PING"):
                await call
            await (await server.accept()).welcome()
            await client.wait_connected()

    run(test())


def test_a_chat_message_without_an_answer_is_sent_again_on_the_next_connection(
    monkeypatch: pytest.MonkeyPatch,
):
    monkeypatch.setattr(client_liveness, "REQUEST_SILENCE_SECONDS", 0.2)

    async def test() -> None:
        async with DeviceServer() as server, client_of(server) as client:
            call = asyncio.ensure_future(client.chat("ben").send("hello"))
            peer = await server.accept()
            await peer.welcome()
            _, first = await peer.take(Signal.PUBLISH)
            peer = await server.accept()
            monkeypatch.undo()
            await peer.welcome()
            frame, again = await peer.take(Signal.PUBLISH)
            assert first == again
            sent = {"ok": True, "id": "1", "conversation": "user:ben", "seq": 1, "ts": 1}
            peer.send(Signal.PUB_ACK, sent, frame.sub_signal, frame.message_id)
            assert (await call).seq == 1

    run(test())


def test_new_credentials_that_get_no_answer_are_given_up_in_time():
    async def test() -> None:
        async with DeviceServer() as server, client_of(server, jwt="j") as client:
            peer = await server.accept()
            await peer.welcome()
            with pytest.raises(errors.ConnectionFailed, match="no answer within"):
                await client.renew("new", timeout=0.05)
            with pytest.raises(errors.RequestRefused, match="too_large"):
                await client.renew("x" * (2 << 20))

    run(test())


# --- Registration and credentials ----------------------------------------------------------------


def test_who_registered_alone_is_the_same_device_in_the_session():
    """One fact in one place: the pair. A second SUB would be a second device."""

    async def test() -> None:
        async with DeviceServer() as server:
            stored: list[Credentials] = []
            client = client_of(server, key="k", on_credentials=stored.append)
            call = asyncio.ensure_future(client.register())
            peer = await server.accept()
            await peer.register("FIRST", "S1")
            await peer.gone()
            assert (await call).token == "FIRST"
            assert (await client.register()).token == "FIRST"
            async with client:
                body = await (await server.accept()).welcome()
                assert (body["token"], body["secret"]) == ("FIRST", "S1")
                await client.wait_connected()
                assert (await client.register()).token == "FIRST"
            assert stored == [Credentials("FIRST", "S1")]

    run(test())


def test_registrations_at_once_make_one_device():
    async def test() -> None:
        async with DeviceServer() as server:
            stored: list[Credentials] = []
            client = client_of(server, key="k", on_credentials=stored.append)
            calls = [asyncio.ensure_future(client.register()) for _ in range(5)]
            peer = await server.accept()
            await peer.register("FIRST", "S1")
            assert {pair.token for pair in await asyncio.gather(*calls)} == {"FIRST"}
            assert stored == [Credentials("FIRST", "S1")]
            await until(lambda: len(asyncio.all_tasks()) == 1)

    run(test())


def test_a_session_that_begins_while_a_registration_runs_waits_for_it():
    async def test() -> None:
        async with DeviceServer() as server:
            stored: list[Credentials] = []
            client = client_of(server, key="k", on_credentials=stored.append)
            call = asyncio.ensure_future(client.register())
            alone = await server.accept()
            frame, _ = await alone.take(Signal.SUB)
            async with client:
                session = await server.accept()
                pair = {"token": "FIRST", "secret": "S1"}
                alone.send(Signal.SUB, pair, number=frame.message_id)
                body = await session.welcome()
                assert (body["token"], body["secret"]) == ("FIRST", "S1")
                assert (await call).token == "FIRST"
                await alone.gone()
            assert stored == [Credentials("FIRST", "S1")]

    run(test())


def test_a_pair_is_stored_also_when_the_registration_is_cancelled_while_it_says_goodbye():
    async def test() -> None:
        async with DeviceServer() as server:
            stored: list[Credentials] = []
            client = client_of(server, key="k", on_credentials=stored.append)
            call = asyncio.ensure_future(client.register())
            peer = await server.accept()
            await peer.register("FIRST", "S1")
            await until(lambda: bool(stored))
            call.cancel()
            await asyncio.wait([call])
            await until(lambda: client.credentials == Credentials("FIRST", "S1"))
            async with client:
                assert (await (await server.accept()).welcome())["token"] == "FIRST"

    run(test())


def test_a_server_of_another_version_refuses_a_registration_too():
    async def test() -> None:
        refusal = {"versions": [3], "code": "x", "detail": "another version"}
        status = ConnectStatus.UNACCEPTABLE_PROTOCOL_VERSION
        async with DeviceServer() as server:
            call = asyncio.ensure_future(client_of(server, key="k").register())
            peer = await server.accept()
            await peer.take(Signal.SUB)
            peer.send(Signal.CONNECT_ACK, refusal, sub=status)
            with pytest.raises(errors.RegistrationFailed, match="another version"):
                await call
            async with client_of(server, key="k") as client:
                peer = await server.accept()
                await peer.take(Signal.SUB)
                peer.send(Signal.CONNECT_ACK, refusal, sub=status)
                assert isinstance(await ended(client), errors.ProtocolRejected)

    run(test())


def test_registers_first_and_stores_the_pair_before_it_is_used():
    async def test() -> None:
        async with DeviceServer() as server:
            stored: list[Credentials] = []
            connects: list[int] = []

            async def store(pair: Credentials) -> None:
                connects.append(len(server._all[0]._frames))
                stored.append(pair)

            options = {"key": "k", "platform": "linux", "app": "a", "device": "d"}
            async with client_of(server, on_credentials=store, **options) as client:
                peer = await server.accept()
                assert await peer.register() == options
                body = await peer.welcome()
                assert (body["token"], body["secret"]) == ("T", "S")
                assert stored == [Credentials("T", "S")]
                assert await client.register() == Credentials("T", "S")

    run(test())


def test_registers_alone_without_a_session():
    async def test() -> None:
        async with DeviceServer() as server:
            client = client_of(server, key="k")
            call = asyncio.ensure_future(client.register())
            peer = await server.accept()
            await peer.register()
            await peer.gone()
            assert await call == client.credentials == Credentials("T", "S")

    run(test())


def test_a_registration_refused_is_an_error_with_its_code():
    async def test() -> None:
        async with DeviceServer() as server:
            call = asyncio.ensure_future(client_of(server, key="k").register())
            peer = await server.accept()
            frame, _ = await peer.take(Signal.SUB)
            refusal = {"ok": False, "code": "unauthenticated", "detail": "wrong key"}
            peer.send(Signal.SUB, refusal, number=frame.message_id)
            await peer.gone()
            with pytest.raises(errors.RegistrationFailed) as failed:
                await call
            assert failed.value.code == "unauthenticated"

    run(test())


def test_a_client_that_cannot_register_says_so():
    async def test() -> None:
        with pytest.raises(errors.ConfigurationError, match="key"):
            await PushClient(["tcp://127.0.0.1:1"], jwt="j").register()
        async with DeviceServer() as server, client_of(server, jwt="j", key="k") as client:
            with pytest.raises(errors.ConfigurationError, match="jwt"):
                await client.register()
            assert "token" not in await (await server.accept()).welcome()

    run(test())


def test_an_unknown_token_registers_again_when_there_is_a_key():
    async def test() -> None:
        async with DeviceServer() as server:
            stored: list[Credentials] = []
            options = {"token": "OLD", "secret": "S", "key": "k"}
            async with client_of(server, on_credentials=stored.append, **options) as client:
                await (await server.accept()).refuse(ConnectStatus.IDENTIFIER_REJECTED)
                peer = await server.accept()
                await peer.register("NEW", "S2")
                assert (await peer.welcome())["token"] == "NEW"
                await client.wait_connected()
                assert stored == [Credentials("NEW", "S2")]

    run(test())


def test_a_jwt_is_made_anew_for_each_refusal_and_before_it_ends():
    async def test() -> None:
        made: list[str] = []

        async def make() -> str:
            made.append(f"jwt{len(made)}")
            return made[-1]

        async with DeviceServer() as server, client_of(server, jwt=make) as client:
            refused = await (await server.accept()).refuse(ConnectStatus.BAD_CREDENTIALS)
            assert refused["jwt"] == "jwt0"
            peer = await server.accept()
            assert (await peer.welcome())["jwt"] == "jwt1"
            await peer.disconnect("credentials_expired")
            peer = await server.accept()
            assert (await peer.welcome())["jwt"] == "jwt2"
            renewing = asyncio.ensure_future(client.renew("by hand"))
            frame, body = await peer.take(Signal.AUTH)
            assert body == {"jwt": "by hand"}
            answer = {"ok": True, "expires": 77}
            peer.send(Signal.AUTH, answer, number=frame.message_id)
            assert await renewing == 77

    run(test())


def test_a_jwt_that_names_its_end_is_renewed_in_the_session():
    async def test() -> None:
        from test_parts import jwt as jwt_with

        time_seconds = ACCEPTED["time"] // 1000
        jwts = [jwt_with({"exp": time_seconds + 2}), jwt_with({"exp": time_seconds + 9000})]
        async with DeviceServer() as server, client_of(server, jwt=lambda: jwts.pop(0)):
            peer = await server.accept()
            await peer.welcome()
            last = jwts[0]
            frame, body = await peer.take(Signal.AUTH)
            assert body == {"jwt": last}
            peer.send(Signal.AUTH, {"ok": True, "expires": 1}, number=frame.message_id)

    run(test())


def test_an_application_that_cannot_make_a_jwt_now_is_asked_again():
    async def test() -> None:
        outcomes: list[Any] = [RuntimeError("token service away"), "j"]

        def make() -> str:
            outcome = outcomes.pop(0)
            if isinstance(outcome, Exception):
                raise outcome
            return outcome

        async with DeviceServer() as server, client_of(server, jwt=make):
            assert (await (await server.accept()).welcome())["jwt"] == "j"

    run(test())


# --- Ends ----------------------------------------------------------------------------------------

REFUSALS = {
    ConnectStatus.UNACCEPTABLE_PROTOCOL_VERSION: errors.ProtocolRejected,
    ConnectStatus.IDENTIFIER_REJECTED: errors.UnknownToken,
    ConnectStatus.BAD_CREDENTIALS: errors.BadCredentials,
    ConnectStatus.NOT_AUTHORIZED: errors.NotAuthorized,
}
GOODBYES = {
    "taken_over": errors.TakenOver,
    "kicked": errors.Kicked,
    "bad_frame": errors.ProtocolRejected,
    "frame_too_large": errors.ProtocolRejected,
}


@pytest.mark.parametrize(("status", "kind"), REFUSALS.items())
def test_a_final_refusal_comes_out_of_the_iterator(
    status: ConnectStatus, kind: type[errors.Stopped]
):
    async def test() -> None:
        async with DeviceServer() as server, client_of(server) as client:
            await (await server.accept()).refuse(status)
            assert type(await ended(client)) is kind
            assert client.state is ClientState.FAILED
            with pytest.raises(kind):
                await client.wait_connected()
            with pytest.raises(kind):
                await client.publish("TS", {"topic": "t"})

    run(test())


@pytest.mark.parametrize(("code", "kind"), GOODBYES.items())
def test_a_final_goodbye_comes_out_of_the_iterator(code: str, kind: type[errors.Stopped]):
    async def test() -> None:
        async with DeviceServer() as server, client_of(server) as client:
            peer = await server.accept()
            await peer.welcome()
            await peer.disconnect(code)
            error = await ended(client)
            assert type(error) is kind
            assert "because" in str(error)

    run(test())


async def end_by_goodbye(peer: Peer) -> None:
    await peer.welcome()
    await peer.disconnect("internal")


async def end_by_refusal(peer: Peer) -> None:
    await peer.refuse(ConnectStatus.SERVER_UNAVAILABLE)


async def end_by_reset(peer: Peer) -> None:
    await peer.welcome()
    peer.abort()


async def end_by_garbage(peer: Peer) -> None:
    await peer.welcome()
    peer.send_raw(b"HTTP/1.1 400 Bad Request\r\n\r\n")
    _, body = await peer.take(Signal.DISCONNECT)
    assert body["code"] == "bad_frame"
    assert await peer.frame() is None


async def end_before_the_answer(peer: Peer) -> None:
    await peer.take_connect()
    await peer.close()


@pytest.mark.parametrize(
    "end", [end_by_goodbye, end_by_refusal, end_by_reset, end_by_garbage, end_before_the_answer]
)
def test_other_ends_are_followed_by_a_new_connection(end: Any):
    async def test() -> None:
        async with DeviceServer() as server, client_of(server) as client:
            await end(await server.accept())
            peer = await server.accept()
            await peer.welcome()
            peer.push(1, "m1")
            assert (await next_of(client)).id == "m1"

    run(test())


def test_a_server_that_is_not_there_is_tried_again_and_the_state_says_so():
    async def test() -> None:
        async with DeviceServer() as server:
            pass
        states: list[tuple[ClientState, str]] = []
        client = PushClient(
            [server.url],
            token="T",
            secret="S",
            random=lambda: 0.01,
            on_state=lambda *state: states.append(state),
        )
        async with client:
            await until(lambda: len(states) >= 2)
            async with DeviceServer.again(server) as returned:
                await (await returned.accept()).welcome()
                await client.wait_connected()
        waiting = [detail for state, detail in states if state is ClientState.WAITING]
        assert "refused" in waiting[0]

    run(test())


def test_a_redirect_and_a_drain_lead_to_the_other_server():
    async def test() -> None:
        async with DeviceServer() as first, DeviceServer() as second, client_of(first) as client:
            peer = await first.accept()
            await peer.refuse(ConnectStatus.USE_ANOTHER_SERVER, servers=[second.url])
            peer = await second.accept()
            await peer.welcome()
            await client.wait_connected()
            await peer.disconnect("draining", servers=[first.url], after=0)
            await (await first.accept()).welcome()

    run(test())


def test_an_error_in_the_applications_callback_comes_out_of_the_iterator():
    async def test() -> None:
        def store(pair: Credentials) -> None:
            raise OSError("disk full")

        options = {"key": "k", "on_credentials": store}
        async with DeviceServer() as server, client_of(server, **options) as client:
            await (await server.accept()).register()
            assert str(await ended(client)) == "disk full"

    run(test())


@pytest.mark.parametrize("ban", ["refusal", "kick"])
def test_a_ban_that_ends_is_waited_for(ban: str):
    async def test() -> None:
        async with DeviceServer() as server, client_of(server) as client:
            peer = await server.accept()
            if ban == "refusal":
                await peer.refuse(ConnectStatus.NOT_AUTHORIZED, code="banned", after=1)
            else:
                await peer.welcome()
                await peer.disconnect("kicked", after=1)
            await until(lambda: client.state is ClientState.WAITING)
            await (await server.accept()).welcome()
            await client.wait_connected()

    run(test())


def test_a_registration_that_is_banned_for_a_while_is_tried_again():
    async def test() -> None:
        async with DeviceServer() as server, client_of(server, key="k") as client:
            peer = await server.accept()
            frame, _ = await peer.take(Signal.SUB)
            refusal = {"ok": False, "code": "banned", "detail": "", "after": 1}
            peer.send(Signal.SUB, refusal, number=frame.message_id)
            peer = await server.accept()
            await peer.register()
            await peer.welcome()
            await client.wait_connected()

    run(test())


def test_who_waits_while_the_application_closes_is_told_so():
    async def test() -> None:
        async with DeviceServer() as server:
            client = client_of(server)
            client.start()
            calls = [
                asyncio.ensure_future(client.wait_connected()),
                asyncio.ensure_future(client.publish("TS", {"topic": "a"})),
                asyncio.ensure_future(client.subscribe("a")),
                asyncio.ensure_future(client.chat("b").send(1)),
            ]
            await server.accept()
            await client.close()
            for outcome in await asyncio.gather(*calls, return_exceptions=True):
                assert isinstance(outcome, errors.ClientClosed)
                assert str(outcome).startswith("the application closed this client")
            with pytest.raises(errors.ClientClosed):
                await client.publish("TS", {"topic": "a"})
            with pytest.raises(errors.AlreadyStarted):
                client.start()
            never_started = client_of(server)
            await never_started.close()
            with pytest.raises(errors.ClientClosed):
                await never_started.wait_connected()

    run(test())


def test_a_client_that_was_not_started_says_so():
    async def test() -> None:
        client = PushClient(["tcp://127.0.0.1:1"], token="T", secret="S")
        with pytest.raises(errors.NotStarted, match="`with` block"):
            await client.wait_connected()
        with pytest.raises(errors.NotStarted):
            await anext(client)
        await client.close()

    run(test())


# --- TLS -----------------------------------------------------------------------------------------


def test_tls_with_the_pinned_fingerprint_or_the_ca_file(certificate: Certificate):
    async def test() -> None:
        for trust in (
            {"fingerprint": certificate.fingerprint},
            {"ca_file": str(certificate.file)},
            {"ca_file": str(certificate.file), "fingerprint": certificate.fingerprint},
        ):
            context = certificate.server_context()
            async with DeviceServer(context) as server, client_of(server, **trust) as client:
                peer = await server.accept()
                await peer.welcome()
                peer.push(1, "m1")
                assert (await next_of(client)).id == "m1"
                closing = asyncio.ensure_future(client.close())
                await peer.gone()
                await closing

    run(test())


def test_tls_is_refused_without_trust_and_nothing_is_sent(certificate: Certificate, tmp_path: Path):
    async def test() -> None:
        other = make_certificate(tmp_path, "other")
        for trust in (
            {},
            {"fingerprint": other.fingerprint},
            {"ca_file": str(other.file)},
            {"ca_file": str(certificate.file), "fingerprint": other.fingerprint},
        ):
            async with DeviceServer(certificate.server_context()) as server:
                async with client_of(server, **trust) as client:
                    error = await ended(client)
                    assert isinstance(error, errors.ServerUntrusted)
                    assert isinstance(error, errors.CertificateUntrusted)
                for peer in server._all:
                    assert await peer.frame() is None

    run(test())


def test_a_certificate_for_another_host_is_refused(certificate: Certificate):
    async def test() -> None:
        async with DeviceServer(certificate.server_context()) as server:
            url = f"tls://127.0.0.2:{server.port}"
            async with DeviceServer(certificate.server_context(), "127.0.0.2", server.port):
                client = PushClient([url], token="T", secret="S", ca_file=str(certificate.file))
                async with client:
                    assert isinstance(await ended(client), errors.ServerUntrusted)

    run(test())


def test_a_ca_file_that_is_not_there_is_named(certificate: Certificate):
    async def test() -> None:
        context, ca_file = certificate.server_context(), "/nowhere.pem"
        async with DeviceServer(context) as server, client_of(server, ca_file=ca_file) as client:
            assert ca_file in str(await ended(client))

    run(test())
