"""The clients against the real server: what the contract promises, seen from outside.

`push_server` is a started `twistd push` with `http_url`, `tcp_address`, `tls_address` (host, port),
`admin_key`, `app_key` and `data_dir`, and without the limits on registrations and wrong secrets a
minute; it is shared, so every test makes devices of its own.
"""

from __future__ import annotations

import asyncio
import os
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest
from both import ClientState, PushClient
from device_server import make_certificate, run

from push.sdk import errors
from push.sdk.backend import AsyncPushAPI, PushAPI, PushAPIError, Registration
from push.sdk.tls import certificate_fingerprint
from tests import warm
from tests.waiting import DEADLINE_SECONDS

each_client = pytest.mark.usefixtures("each_client")


def url_of(scheme: str, address: tuple[str, int]) -> str:
    return f"{scheme}://{address[0]}:{address[1]}"


def admin(push_server: Any) -> PushAPI:
    return PushAPI(push_server.http_url, push_server.admin_key)


def new_device(push_server: Any, name: str = "test") -> Registration:
    with PushAPI(push_server.http_url, push_server.app_key) as api:
        return api.register_device("linux", "test_live", name)


def client_of(push_server: Any, device: Registration, **options: Any) -> Any:
    given = {"token": device.token, "secret": device.secret, "random": lambda: 0.0}
    return PushClient([url_of("tcp", push_server.tcp_address)], **(given | options))


async def next_of(client: Any) -> Any:
    async with asyncio.timeout(DEADLINE_SECONDS):
        return await anext(client)


async def drained(push_server: Any, token: str) -> None:
    """Wait until the device's stored backlog is empty: its acknowledgements are in."""
    async with AsyncPushAPI(push_server.http_url, push_server.admin_key) as api:
        async with asyncio.timeout(DEADLINE_SECONDS):
            while (await api.device(token)).get("backlog"):
                await asyncio.sleep(0.01)


def push_to(push_server: Any, device: Registration, *data: Any, **options: Any) -> list[str]:
    with admin(push_server) as api:
        return [api.push(to={"token": device.token}, data=item, **options).id for item in data]


# --- Registration --------------------------------------------------------------------------------


@each_client
def test_a_device_registers_over_the_device_protocol_and_connects(push_server: Any):
    async def test() -> None:
        stored = []
        options = {"key": push_server.app_key, "platform": "linux", "app": "a", "device": "d"}
        url = url_of("tcp", push_server.tcp_address)
        async with PushClient(url, on_credentials=stored.append, **options) as client:
            connected = await client.wait_connected()
            assert connected.user is None
            assert connected.window_messages >= 1
            assert stored == [client.credentials]
        async with PushClient(url, token=stored[0].token, secret=stored[0].secret) as client:
            assert (await client.wait_connected()).session != connected.session

    run(test())


@each_client
def test_what_is_pushed_to_a_device_that_registered_alone_arrives_in_its_session(push_server: Any):
    async def test() -> None:
        url = url_of("tcp", push_server.tcp_address)
        client = PushClient(url, key=push_server.app_key)
        pairs = await asyncio.gather(*(client.register() for _ in range(3)))
        assert len(set(pairs)) == 1
        with admin(push_server) as api:
            api.push(to={"token": pairs[0].token}, data="for the first")
        async with client:
            assert (await next_of(client)).data == "for the first"

    run(test())


@each_client
def test_registration_needs_the_right_key(push_server: Any):
    async def test() -> None:
        url = url_of("tcp", push_server.tcp_address)
        for key in ("wrong", ""):
            with pytest.raises(errors.RegistrationFailed) as refused:
                await PushClient(url, key=key).register()
            assert refused.value.code in ("unauthenticated", "forbidden")

    run(test())
    with PushAPI(push_server.http_url, "wrong") as api, pytest.raises(PushAPIError) as refused:
        api.register_device("linux", "a")
    assert refused.value.status == 401


def test_the_same_pair_comes_again_for_its_secret(push_server: Any):
    device = new_device(push_server)
    with PushAPI(push_server.http_url, push_server.app_key) as api:
        again = api.register_device("linux", "a", token=device.token, secret=device.secret)
        assert (again.token, again.secret) == (device.token, device.secret)
        other = api.register_device("linux", "a")
        assert other.token != device.token


@each_client
def test_wrong_credentials_are_final(push_server: Any):
    async def test() -> None:
        device = new_device(push_server)
        wrong = Registration(device.token, "0" * len(device.secret))
        async with client_of(push_server, wrong) as client:
            with pytest.raises(errors.BadCredentials):
                await next_of(client)
        with admin(push_server) as api:
            api.forget(device.token)
        async with client_of(push_server, device) as client:
            with pytest.raises(errors.UnknownToken):
                await next_of(client)

    run(test())


@each_client
def test_an_unknown_token_registers_again_with_a_key(push_server: Any):
    async def test() -> None:
        device = new_device(push_server)
        with admin(push_server) as api:
            api.forget(device.token)
        async with client_of(push_server, device, key=push_server.app_key) as client:
            await client.wait_connected()
            assert client.credentials is not None
            assert client.credentials.token != device.token

    run(test())


# --- Messages ------------------------------------------------------------------------------------


@each_client
def test_a_push_reaches_the_device_with_all_its_members(push_server: Any):
    async def test() -> None:
        device = new_device(push_server)
        async with client_of(push_server, device) as client:
            await client.wait_connected()
            before = time.time()
            async with AsyncPushAPI(push_server.http_url, push_server.admin_key) as api:
                result = await api.push(
                    to={"token": device.token},
                    data={"a": [1, None, "ä"]},
                    ttl=600,
                    title="Hello",
                    body="How are you?",
                )
            message = await next_of(client)
            assert (result.streams, result.online) == (1, 1)
            assert (message.id, message.qos, message.kind) == (result.id, 1, None)
            assert message.stream == f"dev:{device.token}"
            assert message.data == {"a": [1, None, "ä"]}
            assert (message.title, message.body) == ("Hello", "How are you?")
            assert message.offset is not None
            assert message.ts is not None
            assert message.expires is not None
            assert abs(message.ts / 1000 - before) < 5
            assert 595_000 < message.expires - message.ts < 605_000

    run(test())


@each_client
def test_base64_data_and_qos_0(push_server: Any):
    async def test() -> None:
        device = new_device(push_server)
        async with client_of(push_server, device) as client:
            await client.wait_connected()
            push_to(push_server, device, "AP8=", encoding="base64")
            push_to(push_server, device, "quick", qos=0)
            assert (await next_of(client)).payload() == b"\x00\xff"
            quick = await next_of(client)
            assert (quick.data, quick.qos, quick.offset) == ("quick", 0, None)

    run(test())


@each_client
def test_missed_messages_come_in_order_after_the_reconnect(push_server: Any):
    async def test() -> None:
        device = new_device(push_server)
        push_to(push_server, device, *range(100))
        async with client_of(push_server, device) as client:
            assert [(await next_of(client)).data for _ in range(100)] == list(range(100))
        push_to(push_server, device, "later", "last")
        async with client_of(push_server, device) as client:
            assert [(await next_of(client)).data for _ in range(2)] == ["later", "last"]

    run(test())


@each_client
def test_a_message_not_acknowledged_comes_again_and_an_acknowledged_one_does_not(
    push_server: Any,
):
    async def test() -> None:
        device = new_device(push_server)
        ids = push_to(push_server, device, "a", "b", "c")
        async with client_of(push_server, device, acks="explicit") as client:
            messages = [await next_of(client) for _ in range(3)]
            assert [message.id for message in messages] == ids
            await messages[0].ack()
        async with client_of(push_server, device, acks="explicit") as client:
            messages = [await next_of(client) for _ in range(2)]
            assert [message.id for message in messages] == ids[1:]
            for message in messages:
                await message.ack()
            await drained(push_server, device.token)
        push_to(push_server, device, "d")
        async with client_of(push_server, device) as client:
            assert (await next_of(client)).data == "d"

    run(test())


@each_client
def test_a_window_that_is_full_holds_back_the_rest_until_acknowledgements_come(push_server: Any):
    async def test() -> None:
        device = new_device(push_server)
        async with client_of(push_server, device, acks="explicit", window=4) as client:
            assert (await client.wait_connected()).window_messages == 4
            push_to(push_server, device, *range(12))
            held = [await next_of(client) for _ in range(4)]
            # A message at QoS 0 passes the window: when it is here, a fifth would be here too.
            push_to(push_server, device, "marker", qos=0)
            try:
                async with asyncio.timeout(1):
                    fifth = (await anext(client)).data
            except TimeoutError:
                fifth = "marker"  # while behind, a live message may be left out
            assert fifth == "marker"
            for message in held:
                await message.ack()
            for expected in range(4, 12):
                message = await next_of(client)
                assert message.data == expected
                await message.ack()

    run(test())


@each_client
def test_a_push_to_all_and_to_a_bound_user(push_server: Any):
    async def test() -> None:
        first, second = new_device(push_server), new_device(push_server)
        # Of the test alone. Not the token: its check character may be one that no name may have.
        user = f"user-{first.token[:-1]}"
        async with (
            client_of(push_server, first) as one,
            client_of(push_server, second) as two,
            AsyncPushAPI(push_server.http_url, push_server.admin_key) as api,
        ):
            await one.wait_connected()
            await two.wait_connected()
            everyone = await api.push(to={"all": True}, data="everyone", ttl=60)
            assert (await next_of(one)).id == (await next_of(two)).id == everyone.id
            await api.bind(user, first.token)
            await api.push(to={"user": user}, data="for the user")
            assert (await next_of(one)).data == "for the user"
            await api.unbind(user, first.token)
            await api.push(to={"tokens": [first.token, second.token]}, data="both")
            assert [(await next_of(one)).data, (await next_of(two)).data] == ["both", "both"]
            with pytest.raises(PushAPIError) as refused:
                await api.unbind(user, first.token)
            assert refused.value.status == 404

    run(test())


@each_client
def test_a_second_connection_takes_the_session_over(push_server: Any):
    async def test() -> None:
        device = new_device(push_server)
        async with client_of(push_server, device) as first:
            await first.wait_connected()
            async with client_of(push_server, device) as second:
                with pytest.raises(errors.TakenOver):
                    await next_of(first)
                assert first.state is ClientState.FAILED
                push_to(push_server, device, "x")
                assert (await next_of(second)).data == "x"

    run(test())


@each_client
def test_the_heartbeat_is_answered_and_clamped(push_server: Any):
    async def test() -> None:
        device = new_device(push_server)
        async with client_of(push_server, device, heartbeat=1) as client:
            assert (await client.wait_connected()).heartbeat_seconds >= 1
        async with client_of(push_server, device, heartbeat=10**6) as client:
            assert (await client.wait_connected()).heartbeat_seconds < 10**6

    run(test())


@each_client
def test_an_unknown_request_is_refused_and_the_session_goes_on(push_server: Any):
    async def test() -> None:
        device = new_device(push_server)
        async with client_of(push_server, device) as client:
            with pytest.raises(errors.RequestRefused) as refused:
                await client.publish(127, {})
            assert refused.value.code == "unknown_request"
            push_to(push_server, device, "x")
            assert (await next_of(client)).data == "x"

    run(test())


# --- TLS -----------------------------------------------------------------------------------------


@each_client
def test_tls_with_the_fingerprint_or_the_certificate_as_ca(push_server: Any):
    async def test() -> None:
        device = new_device(push_server)
        certificate = Path(push_server.data_dir) / "server.crt"
        fingerprint = certificate_fingerprint(certificate)
        url = url_of("tls", push_server.tls_address)
        for number, trust in enumerate(
            ({"fingerprint": fingerprint}, {"fingerprint": fingerprint.replace(":", "").lower()})
        ):
            pair = {"token": device.token, "secret": device.secret}
            async with PushClient(url, **pair, **trust) as client:
                await client.wait_connected()
                push_to(push_server, device, number)
                assert (await next_of(client)).data == number
        local = f"tls://localhost:{push_server.tls_address[1]}"
        async with PushClient([local], **pair, ca_file=str(certificate)) as client:
            async with asyncio.timeout(DEADLINE_SECONDS):
                await client.wait_connected()

    run(test())


@each_client
def test_tls_without_trust_is_refused(push_server: Any, tmp_path: Path):
    async def test() -> None:
        device = new_device(push_server)
        other = make_certificate(tmp_path)
        url = url_of("tls", push_server.tls_address)
        for trust in ({}, {"fingerprint": other.fingerprint}, {"ca_file": str(other.file)}):
            options = {"token": device.token, "secret": device.secret, **trust}
            async with PushClient(url, **options) as client:
                with pytest.raises(errors.ServerUntrusted):
                    await next_of(client)

    run(test())


# --- The API and the command line ----------------------------------------------------------------


def test_the_api_tells_about_a_device_and_the_deployment(push_server: Any):
    device = new_device(push_server, "my phone")
    with admin(push_server) as api:
        assert api.device(device.token)["token"] == device.token
        assert isinstance(api.stats(), dict)
        servers = api.servers()
        assert url_of("tcp", push_server.tcp_address) in servers.servers
        results = api.push_batch(
            [
                {"to": {"token": device.token}, "data": 1},
                {"to": {"nobody": 1}, "data": 1},
                {"to": {"token": device.token}, "data": 2},
            ]
        )
        assert [item.ok for item in results] == [True, False, True]
        api.forget(device.token)
        with pytest.raises(PushAPIError) as refused:
            api.device(device.token)
        assert (refused.value.status, refused.value.code) == (404, "unknown_token")


@pytest.mark.parametrize(
    ("options", "code", "field"),
    [
        ({"to": {"all": True}, "ttl": -1}, "invalid", "ttl"),
        ({"to": {"all": True}, "qos": 2}, "invalid", "qos"),
        ({"to": {}}, "invalid", "to"),
    ],
)
def test_a_wrong_push_is_named(push_server: Any, options: Any, code: str, field: str):
    with admin(push_server) as api, pytest.raises(PushAPIError) as refused:
        api.push(data=1, **options)
    assert (refused.value.status, refused.value.code) == (422, code)
    assert field in (refused.value.field or "")


def test_pushctl_from_registration_to_the_message(push_server: Any, tmp_path: Path):
    """Beside a local server nothing but its data folder is needed; the port is given as ours
    is not the default.
    """

    def pushctl(*arguments: str, **options: Any) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [*command, *arguments],
            capture_output=True,
            text=True,
            timeout=DEADLINE_SECONDS,
            check=True,
            env=environment,
            **options,
        )

    command = [warm.commands() / "pushctl"]
    environment = os.environ | {
        "PUSH_SERVER_DATA": str(push_server.data_dir),
        "PUSH_URL": push_server.http_url,
    }
    credentials = str(tmp_path / "me.json")
    token = pushctl("register", "--credentials", credentials).stdout.split()[1]
    pushctl("push", "--to-token", token, "--title", "Hi", '{"a": 1}')
    pushctl("push", "--to-token", token, "-", input="from a pipe")
    server = url_of("tls", push_server.tls_address)
    listen = ["listen", "--credentials", credentials, "--server", server, "--count", "2"]
    lines = pushctl(*listen, "--timeout", "20").stdout.splitlines()
    assert lines[0].endswith(f'dev:{token} Hi: {{"a":1}}')
    assert lines[1].endswith(f"dev:{token} from a pipe")
    assert pushctl("stats", "--json").stdout.startswith("{")
