"""`pushctl listen` against a scripted server: what it prints, and its exit status."""

from __future__ import annotations

import json
import signal
from pathlib import Path

from device_server import DeviceServer, make_certificate, run
from http_server import Answer, HTTPServer

from push.pushctl.terminal.options import Common
from push.wire.signals import ConnectStatus, Signal
from tests.pushctl.conftest import finished, started

DEVICE = ["--token", "T", "--secret", "S"]


def test_listen_prints_acknowledges_and_ends_after_count():
    async def test() -> None:
        async with DeviceServer() as server:
            process = await started("listen", *DEVICE, "--server", server.url, "--count", "2")
            peer = await server.accept()
            await peer.welcome()
            peer.push(1, "m1", data={"a": 1}, title="Hi", body="you")
            peer.push(2, "m2", data="text", kind="chat")
            assert await peer.take_acks(2) == [1, 2]
            await peer.gone()
            outcome = await finished(process)
            assert outcome.status == 0
            first, second = [line.split(" ", 1)[1] for line in outcome.out.splitlines()]
            assert (first, second) == ('dev:T Hi: you {"a":1}', "dev:T [chat] text")
            assert outcome.err == f"pushctl: connected to {server.url} as T\n"

    run(test())


def test_listen_without_acknowledging_and_as_json():
    async def test() -> None:
        Path("me.json").write_text('{"token": "T", "secret": "S"}')
        async with DeviceServer() as server:
            options = ["--no-ack", "--json", "--count", "1", "--credentials", "me.json"]
            process = await started("listen", *options, "--server", server.url)
            peer = await server.accept()
            connect = await peer.welcome()
            assert (connect["token"], connect["secret"]) == ("T", "S")
            peer.push(1, "m1", later={"x": 1})
            await peer.gone()
            outcome = await finished(process)
            assert json.loads(outcome.out) == {
                "id": "m1",
                "stream": "dev:T",
                "offset": "1",
                "data": "m1",
                "ts": 1,
                "later": {"x": 1},
            }

    run(test())


def test_ctrl_c_ends_listen_quietly_with_130():
    async def test() -> None:
        async with DeviceServer() as server:
            process = await started("listen", *DEVICE, "--server", server.url)
            peer = await server.accept()
            await peer.welcome()
            assert process.stderr is not None
            connected = await process.stderr.readline()
            assert b"connected" in connected
            process.send_signal(signal.SIGINT)
            await peer.gone()
            assert await finished(process) == (130, "", "")

    run(test())


def test_listen_connects_again_after_a_session_and_says_so():
    async def test() -> None:
        async with DeviceServer() as server:
            process = await started("listen", *DEVICE, "--server", server.url, "--count", "1")
            peer = await server.accept()
            await peer.welcome()
            peer.abort()
            peer = await server.accept()
            await peer.welcome()
            peer.push(0, "m1")
            await peer.gone()
            outcome = await finished(process)
            assert outcome.status == 0
            assert outcome.err.count("connecting again") == 1
            assert outcome.err.count("connected to") == 2

    run(test())


def test_listen_tells_what_is_gone_on_standard_error_and_does_not_count_it():
    async def test() -> None:
        async with DeviceServer() as server:
            process = await started("listen", *DEVICE, "--server", server.url, "--count", "1")
            peer = await server.accept()
            await peer.welcome(truncated=["dev:T"])
            gone = {"kind": "truncated", "stream": "all", "from": "3", "to": "7"}
            peer.send(Signal.PUSH, gone)
            peer.push(1, "m1")
            await peer.take_acks(1)
            await peer.gone()
            outcome = await finished(process)
            assert outcome.status == 0
            assert outcome.out.count("\n") == 1
            assert outcome.err.splitlines() == [
                f"pushctl: connected to {server.url} as T",
                "pushctl: unread messages of dev:T are gone",
                "pushctl: unread messages of all are gone (from 3 to 7)",
            ]

    run(test())


def test_listen_tells_what_is_gone_as_json_too():
    async def test() -> None:
        async with DeviceServer() as server:
            options = ["--json", "--count", "1", "--server", server.url]
            process = await started("listen", *DEVICE, *options)
            peer = await server.accept()
            await peer.welcome(truncated=["dev:T"])
            gone = {"kind": "truncated", "stream": "all", "from": "3", "to": "7"}
            peer.send(Signal.PUSH, gone)
            peer.push(0, "m1")
            await peer.gone()
            outcome = await finished(process)
            told = [json.loads(line) for line in outcome.out.splitlines()]
            assert told[:2] == [{"kind": "truncated", "stream": "dev:T"}, gone]
            assert told[2]["id"] == "m1"
            assert outcome.err.count("are gone") == 2

    run(test())


def test_listen_that_is_refused_or_takes_too_long_is_one_line():
    async def test() -> None:
        async with DeviceServer() as server:
            process = await started("listen", *DEVICE, "--server", server.url)
            await (await server.accept()).refuse(ConnectStatus.BAD_CREDENTIALS)
            outcome = await finished(process)
            assert (outcome.status, outcome.out) == (1, "")
            assert outcome.err.count("\n") == 1
            assert "bad_credentials: because" in outcome.err
            process = await started("listen", *DEVICE, "--server", server.url, "--timeout", "0.2")
            peer = await server.accept()
            await peer.take(Signal.CONNECT)
            outcome = await finished(process)
            assert outcome == (1, "", "pushctl: not done after 0.2 s\n")

    run(test())


def test_a_reader_that_goes_away_ends_listen_without_a_traceback():
    async def test() -> None:
        async with DeviceServer() as server:
            process = await started("listen", *DEVICE, "--server", server.url)
            peer = await server.accept()
            await peer.welcome()
            assert process.stdout is not None
            process.stdout._transport.close()  # type: ignore[attr-defined]
            peer.push(1, "m1")
            assert process.stderr is not None
            err = await process.stderr.read()
            assert await process.wait() == 1
            assert err.count(b"\n") == 1

    run(test())


def test_a_local_server_is_trusted_by_the_certificate_in_its_data_folder(tmp_path: Path):
    async def test() -> None:
        folder = tmp_path / "push-data"
        folder.mkdir()
        certificate = make_certificate(folder)
        async with DeviceServer(certificate.server_context()) as server:
            process = await started("listen", *DEVICE, "--server", server.url, "--count", "1")
            peer = await server.accept()
            await peer.welcome()
            peer.push(0, "m1")
            await peer.gone()
            assert (await finished(process)).status == 0
            elsewhere = await started(
                *["listen", *DEVICE, "--server", server.url],
                *["--fingerprint", "00" * 32],
            )
            outcome = await finished(elsewhere)
            assert outcome.status == 1
            assert "another fingerprint" in outcome.err

    run(test())


def test_the_server_by_default(tmp_path: Path):
    assert Common().device_servers(["tls://remembered:1"]) == ["tls://remembered:1"]
    # A registration names servers of all carriers.
    every = ["wss://remembered:4/ws", "tls://remembered:1", "ws://remembered:3/ws"]
    assert Common().device_servers(every) == ["tls://remembered:1"]
    (tmp_path / "push-data").mkdir()
    certificate = make_certificate(tmp_path / "push-data")
    assert Common().device_servers([]) == ["tls://127.0.0.1:6790"]
    assert Common().device_servers(["tls://remembered:1"]) == ["tls://remembered:1"]
    pinned = Common().fingerprint(["tls://127.0.0.1:6790"])
    assert pinned is not None
    assert pinned.replace(":", "").lower() == certificate.fingerprint
    assert Common().fingerprint(["tls://127.0.0.1:6790", "tls://push.example:6790"]) is None
    assert Common({"server": ("tls://h:1",)}).device_servers([]) == ["tls://h:1"]


def test_listen_asks_the_api_for_servers(server: HTTPServer):
    async def test() -> None:
        async with DeviceServer() as devices:
            server.answer(Answer(200, {"servers": ["ws://x/ws", devices.url], "ttl": 60}))
            process = await started("listen", *DEVICE, "--url", server.url, "--count", "1")
            peer = await devices.accept()
            await peer.welcome()
            peer.push(0, "m1")
            await peer.gone()
            assert (await finished(process)).status == 0

    run(test())


def test_listen_says_what_happened_to_a_group_and_to_whom():
    async def test() -> None:
        async with DeviceServer() as server:
            process = await started("listen", *DEVICE, "--server", server.url, "--count", "2")
            peer = await server.accept()
            await peer.welcome()
            changed = {"kind": "group", "group": "g1", "event": "added", "by": "ada"}
            peer.send(Signal.PUSH, {"id": "m1", **changed, "users": ["ben", "cleo"]})
            peer.send(Signal.PUSH, {"id": "m2", **changed, "event": "dismissed"})
            outcome = await finished(process)
            first, second = outcome.out.splitlines()
            assert first.endswith("[group] group g1: added ben, cleo by ada")
            assert second.endswith("[group] group g1: dismissed by ada")

    run(test())
