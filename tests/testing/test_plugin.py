"""The pytest plugin as its users have it: pytest runs of their own, in folders of their own."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from push.testing.server import started_server
from tests.waiting import DEADLINE_SECONDS, wait_for

# A server's port 1, and settings that no daemon would take: what a developer's shell may hold.
SHELL_VARIABLES = {"PUSH_REDIS_URL": "redis://127.0.0.1:1", "PUSH_SERVER_LOG": "nonsense"}
Suite = Callable[..., str]


def command(*arguments: str) -> list[str]:
    """Without a plugin of ours alone, which takes longer to load than all else."""
    left_out = ("-p", "no:cacheprovider", "-p", "no:schemathesis")
    return [sys.executable, "-m", "pytest", *left_out, *arguments]


def environment(folder: Path) -> dict[str, str]:
    """Without what this run has set, and with temporary folders that can be told apart."""
    own = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
    return {**own, **SHELL_VARIABLES, "PYTEST_DEBUG_TEMPROOT": str(folder)}


@pytest.fixture
def run(tmp_path: Path) -> Suite:
    """`run(files, *arguments)`: what a run of pytest says on these files; `status` is its end."""
    suite = tmp_path / "suite"
    suite.mkdir()

    def run_suite(files: dict[str, str], *arguments: str, status: int = 0) -> str:
        for name, text in files.items():
            (suite / name).write_text(text)
        ran = subprocess.run(
            command(*arguments),
            cwd=suite,
            env=environment(tmp_path),
            capture_output=True,
            text=True,
            check=False,
            timeout=2 * DEADLINE_SECONDS,
        )
        assert ran.returncode == status, ran.stdout + ran.stderr
        return ran.stdout

    return run_suite


def is_alive(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state != "Z"


LOADED = """
import json, sys

def pytest_sessionfinish():
    print("loaded", json.dumps(sorted(sys.modules)))
"""


def test_a_run_that_does_not_use_it_loads_the_plugin_alone(run: Suite) -> None:
    def loaded(*arguments: str) -> set[str]:
        said = run({"conftest.py": LOADED}, "--collect-only", "-s", *arguments, status=5)
        return set(json.loads(said.split("loaded ", 1)[1].splitlines()[0]))

    # pytest-twisted is left out: it loads Twisted.
    with_it, without = (
        loaded("-p", "no:twisted"),
        loaded("-p", "no:twisted", "-p", "no:push-universe"),
    )
    assert with_it - without == {"push", "push.testing", "push.testing.plugin"}
    assert "twisted" not in with_it


USES = """
import json, os, socket
from pathlib import Path
from urllib.parse import urlsplit
import pytest
from push.sdk.errors import PushAPIError

def note(server):
    redis = int((server.log.parent / "data/redis/redis.pid").read_text())
    worker = os.environ.get("PYTEST_XDIST_WORKER")
    Path(f"pids-{worker}.json").write_text(json.dumps([server.pid, redis]))

@pytest.mark.parametrize("n", [1, 2])
def test_a_push_reaches_a_new_device(push_server, n):
    note(push_server)
    device = push_server.device()
    with push_server.listen(device) as inbox:
        pushed = push_server.api.push(to={"token": device.token}, data={"n": n})
        assert inbox.wait().data == {"n": n}
        assert push_server.wait_acknowledged(pushed.id).addressed == 1
    assert [message.data for message in inbox.messages] == [{"n": n}]

def test_a_user_by_jwt_and_their_device_get_the_same(push_server):
    anna = push_server.unique("anna")
    device = push_server.device(anna)
    with push_server.listen(device) as one, push_server.listen(anna) as two:
        push_server.api.push(to={"user": anna}, data="first")
        push_server.api.push(to={"user": anna}, data="second")
        for inbox in (one, two):
            assert inbox.wait(lambda message: message.data == "second").stream == f"user:{anna}"
            assert inbox.wait().data == "first"

def test_the_claims_of_a_jwt(push_server):
    import asyncio
    from push.sdk.aio import PushClient
    from push.sdk.errors import BadCredentials

    ben, topic = push_server.unique("ben"), push_server.unique("private.board")

    async def subscribe(jwt):
        where = {"servers": push_server.servers["tls"], "fingerprint": push_server.fingerprint}
        async with PushClient(**where, jwt=jwt) as client:
            await client.subscribe(topic)
            return (await client.wait_connected()).user

    assert asyncio.run(subscribe(push_server.jwt(ben, topics=[topic]))) == ben
    with pytest.raises(BadCredentials):
        asyncio.run(subscribe(push_server.jwt(ben, seconds=-600)))

def test_the_app_key_registers_and_does_not_push(push_server):
    from push.sdk.backend import PushAPI

    with PushAPI(push_server.http_url, push_server.app_key) as app:
        assert app.register_device("linux", "app").token
        with pytest.raises(PushAPIError, match="scope"):
            app.push(to={"all": True}, data=1)

def test_every_server_answers(push_server):
    for url in map(urlsplit, push_server.servers.values()):
        socket.create_connection((url.hostname, url.port)).close()
    assert set(push_server.servers) == {"tcp", "tls", "ws", "wss"}
    assert push_server.servers["wss"].endswith("/ws")
"""
SETTINGS = """
import pytest

@pytest.fixture(scope="session")
def push_server_settings():
    return {"chat.presence": "off", "connector.window": 7}
"""
SET = """
def test_a_setting_of_the_suite_counts(push_server):
    import asyncio
    from push.sdk.aio import PushClient

    async def window():
        async with PushClient(**push_server.client_options(push_server.device())) as client:
            return (await client.wait_connected()).window_messages

    assert asyncio.run(window()) == 7
"""


@pytest.mark.parametrize("processes", [0, 2])
def test_a_suite_that_uses_it_passes_and_leaves_no_process(
    run: Suite, tmp_path: Path, processes: int
) -> None:
    """With one server for each process of xdist; the variables of the shell do not count."""
    files = {"conftest.py": SETTINGS, "test_set.py": SET, "test_uses.py": USES}
    strictly = ("-W", "error")  # nothing is left open
    run(files, *strictly, "-n", str(processes)) if processes else run(files, *strictly)
    pids = [json.loads(path.read_text()) for path in (tmp_path / "suite").glob("pids-*.json")]
    assert 1 <= len(pids) <= max(processes, 1)
    assert not any(is_alive(pid) for pair in pids for pid in pair)


WITH_TWISTED = """
import pytest_twisted
from twisted.internet.threads import deferToThread

@pytest_twisted.ensureDeferred
async def test_on_the_reactor(push_server):
    device = await deferToThread(push_server.device)
    assert (await deferToThread(push_server.api.device, device.token))["token"] == device.token
"""


def test_a_suite_on_pytest_twisted_uses_it(run: Suite) -> None:
    assert "1 passed" in run({"test_twisted.py": WITH_TWISTED})


BROKEN = SETTINGS.replace('"off"', '"sometimes"')


def test_a_server_that_does_not_start_is_one_line_and_its_log(run: Suite) -> None:
    said = run({"conftest.py": BROKEN, "test_set.py": SET}, status=1)
    assert "push_server: the server did not start: it ended with status 1: " in said
    told, log = said.split("--- the end of ", 1)
    assert "PUSH_CHAT_PRESENCE" in told.splitlines()[-1]
    assert "PUSH_CHAT_PRESENCE" in log
    assert "Traceback" not in said
    assert "another exception" not in said
    # Where CI is set, pytest prints the whole error in its closing summary once more.
    assert said.split("= short test summary info =", 1)[0].count("--- the end of ") == 1


MISSES = """
def test_waits_for_what_does_not_come(push_server):
    device = push_server.device()
    with push_server.listen(device) as inbox:
        push_server.api.push(to={"token": device.token}, data="another")
        inbox.wait()
        push_server.api.push(to={"token": device.token}, data="a third")
        push_server.api.push(to={"token": device.token}, data="the end")
        inbox.wait(lambda message: message.data == "the end")
        inbox.wait(lambda message: message.data == "this", timeout_seconds=0.1)

def test_waits_for_an_acknowledgement(push_server):
    pushed = push_server.api.push(to={"token": push_server.device().token}, data="another")
    push_server.wait_acknowledged(pushed.id, timeout_seconds=0.1)

def test_listens_with_a_wrong_secret(push_server):
    from dataclasses import replace
    with push_server.listen(replace(push_server.device(), secret="wrong")):
        pass
"""


def test_a_wait_that_fails_says_what_came(run: Suite) -> None:
    said = run({"test_misses.py": MISSES}, "--tb=short", status=1)
    assert "no message that matches came within 0.1 s; others that came:" in said
    assert "'a third'" in said
    assert "push 'another'" not in said
    assert "push 'the end'" not in said
    assert "0 of 1 devices acknowledged" in said
    assert "BadCredentials" in said


HANGS = """
import json, time
from pathlib import Path

def test_hangs(push_server):
    redis = int((push_server.log.parent / "data/redis/redis.pid").read_text())
    Path("new").write_text(json.dumps([push_server.pid, redis]))
    Path("new").rename("pids.json")
    time.sleep(600)
"""


def test_a_killed_run_leaves_no_process(tmp_path: Path) -> None:
    (tmp_path / "test_hangs.py").write_text(HANGS)
    told = tmp_path / "pids.json"
    process = subprocess.Popen(
        command("-q"), cwd=tmp_path, env=environment(tmp_path), stdout=subprocess.DEVNULL
    )
    try:
        wait_for(lambda: told.exists() or process.poll() is not None, "the test hangs")
        pids = json.loads(told.read_text())
        assert all(is_alive(pid) for pid in pids)
    finally:
        process.kill()
        process.wait(DEADLINE_SECONDS)
    wait_for(lambda: [pid for pid in pids if is_alive(pid)] == [], "no process is left")


def test_a_server_of_ones_own_has_any_folder_and_goes_on_there_after_a_crash(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    folder = Path("made/for/it")
    with started_server(folder) as server:
        device = server.device("anna")
        os.kill(server.pid, signal.SIGKILL)
    assert (folder / "ready").exists(), "what a killed server leaves"
    others = {"connector.tls": "[::1]:0", "http.listen": "0.0.0.0:0"}
    with started_server(folder, others) as server, server.listen(device) as inbox:
        assert server.servers["tls"].startswith("tls://[::1]:")
        assert server.http_url.startswith("http://127.0.0.1:")
        server.api.push(to={"user": "anna"}, data="again")
        assert inbox.wait().data == "again"
