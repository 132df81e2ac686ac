"""Collapse, idempotency, the ledger and cancelling against the real server, and their documents.

`push_server` is shared, see `test_live.py`: every test makes devices and names of its own.
"""

from __future__ import annotations

import asyncio
import os
import re
import secrets
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from device_server import run

from push.sdk.aio import Message, PushClient
from push.sdk.backend import (
    AsyncPushAPI,
    MessageLedger,
    PushAPI,
    PushAPIError,
    Registration,
    push_item,
)
from push.wire.idents import encode_crockford
from tests.waiting import DEADLINE_SECONDS

ROOT = Path(__file__).parents[2]
DOCUMENT = ROOT / "docs" / "sdk.md"


def api_of(push_server: Any) -> AsyncPushAPI:
    return AsyncPushAPI(push_server.http_url, push_server.admin_key)


async def new_device(push_server: Any) -> Registration:
    async with AsyncPushAPI(push_server.http_url, push_server.app_key) as api:
        return await api.register_device("linux", "test_live_ledger")


def client_of(push_server: Any, device: Registration, **options: Any) -> PushClient:
    host, port = push_server.tcp_address
    return PushClient(
        f"tcp://{host}:{port}",
        token=device.token,
        secret=device.secret,
        random=lambda: 0.0,
        **options,
    )


async def next_of(client: PushClient) -> Message:
    async with asyncio.timeout(DEADLINE_SECONDS):
        return await anext(client)


async def ledger_when(
    api: AsyncPushAPI, message_id: str, condition: Callable[[MessageLedger], bool]
) -> MessageLedger:
    """The ledger as soon as `condition` holds: what devices do reaches it a moment later."""
    ledger = await api.message(message_id)
    try:
        async with asyncio.timeout(DEADLINE_SECONDS):
            while not condition(ledger):
                await asyncio.sleep(0.01)
                ledger = await api.message(message_id)
    except TimeoutError:
        raise AssertionError(f"not in {DEADLINE_SECONDS:g} s: {ledger}") from None
    return ledger


# --- The ledger ----------------------------------------------------------------------------------


def test_a_message_is_followed_from_the_push_to_the_acknowledgement(push_server: Any):
    async def test() -> None:
        device = await new_device(push_server)
        async with api_of(push_server) as api:
            pushed = await api.push(to={"token": device.token}, data=1, ttl=600)
            waiting = await ledger_when(api, pushed.id, lambda ledger: ledger.stored == 1)
            assert waiting.id == pushed.id
            assert waiting.to == {"token": device.token}
            assert waiting.expires is not None
            assert 599_000 <= waiting.expires - waiting.ts <= 601_000
            assert (waiting.addressed, waiting.acknowledged, waiting.dropped) == (1, 0, {})
            [row] = (await api.message_devices(pushed.id)).devices
            assert (row.token, row.state, row.reason) == (device.token, "stored", None)
            async with client_of(push_server, device) as client:
                assert (await next_of(client)).id == pushed.id
            await ledger_when(api, pushed.id, lambda ledger: ledger.acknowledged == 1)
            [row] = [row async for row in api.each_message_device(pushed.id)]
            assert (row.token, row.state) == (device.token, "acknowledged")

    run(test())


def test_the_devices_of_a_message_come_in_pages(push_server: Any):
    async def test() -> None:
        tokens = [(await new_device(push_server)).token for _ in range(5)]
        async with api_of(push_server) as api:
            pushed = await api.push(to={"tokens": tokens}, data=1)
            await ledger_when(api, pushed.id, lambda ledger: ledger.stored == 5)
            seen: list[str] = []
            cursor, pages = None, 0
            while pages == 0 or cursor is not None:
                page = await api.message_devices(pushed.id, cursor=cursor, limit=2)
                assert len(page.devices) <= 2
                seen += [row.token for row in page.devices]
                cursor, pages = page.cursor, pages + 1
            assert sorted(seen) == sorted(tokens)
            assert pages >= 3
            every = [row.token async for row in api.each_message_device(pushed.id)]
            assert sorted(every) == sorted(tokens)

    run(test())


def test_a_message_nobody_knows_is_404(push_server: Any):
    async def test() -> None:
        unknown = encode_crockford(1)
        async with api_of(push_server) as api:
            for call in (api.message, api.message_devices, api.cancel):
                with pytest.raises(PushAPIError) as refused:
                    await call(unknown)
                assert (refused.value.status, refused.value.code) == (404, "unknown_message")

    run(test())


# --- Cancelling and collapsing -------------------------------------------------------------------


def test_a_cancelled_message_does_not_arrive(push_server: Any):
    async def test() -> None:
        device = await new_device(push_server)
        async with api_of(push_server) as api:
            wrong = await api.push(to={"token": device.token}, data="wrong")
            await api.push(to={"token": device.token}, data="right")
            assert await api.cancel(wrong.id) == 1
            assert await api.cancel(wrong.id) == 0
            async with client_of(push_server, device) as client:
                assert (await next_of(client)).data == "right"
            await ledger_when(api, wrong.id, lambda ledger: ledger.cancelled == 1)
            [row] = (await api.message_devices(wrong.id)).devices
            assert row.state == "cancelled"

    run(test())


def test_what_was_acknowledged_is_not_cancelled(push_server: Any):
    async def test() -> None:
        device = await new_device(push_server)
        async with api_of(push_server) as api:
            pushed = await api.push(to={"token": device.token}, data=1)
            async with client_of(push_server, device) as client:
                await next_of(client)
            await ledger_when(api, pushed.id, lambda ledger: ledger.acknowledged == 1)
            assert await api.cancel(pushed.id) == 0

    run(test())


def test_of_messages_of_one_name_only_the_last_waits(push_server: Any):
    async def test() -> None:
        device = await new_device(push_server)
        to = {"token": device.token}
        async with api_of(push_server) as api:
            await api.push(to=to, data="1:0", collapse="score")
            await api.push(to=to, data="other", collapse="weather")
            await api.push_batch([push_item(to=to, data="2:0", collapse="score")])
            await api.push(to=to, data="end")
            async with client_of(push_server, device) as client:
                came = [(await next_of(client)).data for _ in range(3)]
            assert came == ["other", "2:0", "end"]

    run(test())


def test_a_name_that_may_not_be_is_refused(push_server: Any):
    async def test() -> None:
        async with api_of(push_server) as api:
            with pytest.raises(PushAPIError) as refused:
                await api.push(to={"all": True}, data=1, collapse="not a name")
        assert (refused.value.status, refused.value.field) == (422, "collapse")

    run(test())


# --- Idempotency ---------------------------------------------------------------------------------


def test_a_push_with_its_key_again_is_one_message(push_server: Any):
    async def test() -> None:
        device = await new_device(push_server)
        to, key = {"token": device.token}, f"order {secrets.token_hex(8)}"
        async with api_of(push_server) as api:
            first = await api.push(to=to, data=1, idempotency_key=key)
            assert await api.push(to=to, data=1, idempotency_key=key) == first
            with pytest.raises(PushAPIError) as refused:
                await api.push(to=to, data=2, idempotency_key=key)
            assert (refused.value.status, refused.value.code) == (422, "idempotency_mismatch")
            item = push_item(to=to, data=3, idempotency_key=secrets.token_hex(8))
            [once], [twice] = await api.push_batch([item]), await api.push_batch([item])
            assert once.ok
            assert once == twice
            await api.push(to=to, data="end")
        async with client_of(push_server, device) as client:
            assert [(await next_of(client)).data for _ in range(3)] == [1, 3, "end"]

    run(test())


def test_two_pushes_without_a_key_are_two_messages(push_server: Any):
    async def test() -> None:
        device = await new_device(push_server)
        to = {"token": device.token}
        async with api_of(push_server) as api:
            await api.push(to=to, data=1)
            await api.push(to=to, data=1)
            await api.push_batch([push_item(to=to, data=1)] * 2)
            await api.push_batch([push_item(to=to, data=1)], make_keys=False)
            await api.push(to=to, data="end", make_key=False)
        async with client_of(push_server, device) as client:
            assert [(await next_of(client)).data for _ in range(6)] == [1] * 5 + ["end"]

    run(test())


# --- The command line and the documents ----------------------------------------------------------


def shell(push_server: Any, script: str) -> str:
    """Run it with `pushctl` beside the server's data folder; its standard output."""
    bin_folder = Path(sys.executable).parent
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", script],
        capture_output=True,
        text=True,
        timeout=DEADLINE_SECONDS,
        check=False,
        env=os.environ
        | {
            "PATH": f"{bin_folder}{os.pathsep}{os.environ['PATH']}",
            "PUSH_SERVER_DATA": str(push_server.data_dir),
            "PUSH_URL": push_server.http_url,
        },
    )
    assert done.returncode == 0, f"{script}\n{done.stdout}{done.stderr}"
    return done.stdout


def documented(language: str, after: str) -> list[str]:
    """The code blocks of the document's part that begins with the line `after`."""
    text = DOCUMENT.read_text("utf-8").split(f"\n{after}\n", 1)[1]
    depth = after.index(" ")
    part = re.split(rf"^#{{1,{depth}}} ", text, maxsplit=1, flags=re.MULTILINE)[0]
    return re.findall(rf"^```{language}\n(.*?)^```", part, re.DOTALL | re.MULTILINE)


def test_pushctl_from_the_push_to_the_cancelled_message(push_server: Any):
    device = asyncio.run(new_device(push_server))
    out = shell(
        push_server,
        f"ID=$(pushctl push --to-token '{device.token}' --idempotency-key {device.token[:-1]} 1"
        " | cut -d: -f1)\n"
        'pushctl message "$ID" --devices\n'
        'pushctl cancel "$ID"\n'
        'pushctl message "$ID" --devices --json\n'
        'pushctl message "$ID"\n',
    )
    assert f"{device.token}  stored" in out
    assert "cancelled for 1 device\n" in out
    assert '"state":"cancelled"' in out
    assert re.search(r"^cancelled +1  100%$", out, re.MULTILINE)


def test_the_documented_code_for_a_backend(push_server: Any, capsys: pytest.CaptureFixture[str]):
    """Each block runs as it stands, with a client that is open and a message that was pushed."""
    token = asyncio.run(new_device(push_server)).token
    names: dict[str, Any] = {"key": push_server.admin_key, "tokens": [token]}
    for block in documented("python", "## A backend"):
        with PushAPI(push_server.http_url, push_server.admin_key) as api:
            code = block.replace("http://127.0.0.1:8080", push_server.http_url)
            names["api"] = api  # one block's own is closed by now
            exec(compile(code, str(DOCUMENT), "exec"), names)
    assert "devices acknowledged" in capsys.readouterr().out
