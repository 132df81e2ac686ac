"""The commands of docs/maintenance.md, run as they are written, and what they are to lead to."""

from __future__ import annotations

import os
import re
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from benchmarks.running import Running, started_server
from push.daemons.config.loading import load
from tests.docs.test_commands import Shell
from tests.ports import free_port
from tests.waiting import wait_for

PAGE = (Path(__file__).parents[2] / "docs" / "maintenance.md").read_text("utf-8")


def block(word: str, language: str = "sh") -> str:
    """The first code block with `word` in it, without what it is indented by."""
    found = re.findall(rf"^ *```{language}\n(.*?)^ *```", PAGE, re.DOTALL | re.MULTILINE)
    return next(re.sub("(?m)^   ", "", each) for each in found if word in each)


class Server(NamedTuple):
    running: Running
    shell: Shell


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    with started_server("push", tmp_path / "push-data") as running:
        yield Server(running, Shell(tmp_path, running))


def waiting_message(shell: Shell) -> str:
    """The id of one that waits for a device, which is in phone.json."""
    shell.run("pushctl register --credentials phone.json")
    return shell.run(
        """pushctl push --to-token "$(sed -n 's/.*"token": *"\\([^"]*\\)".*/\\1/p' phone.json)" """
        """'{"text": "kept"}' | cut -d: -f1"""
    ).strip()


def test_a_backup_of_the_embedded_redis_is_restored(server: Server, tmp_path: Path) -> None:
    """Into another folder: the device, its key and its waiting message are there."""
    shell = server.shell
    message = waiting_message(shell)
    shell.run(block("appendonly.aof backup/"))
    shell.run("pushctl forget --credentials phone.json --yes")
    shell.run(block("restored/redis"))
    with started_server("push", tmp_path / "restored") as restored:
        assert restored.admin_key == server.running.admin_key
        again = Shell(tmp_path, restored)
        again.run("rm -rf push-data.of-before && mv push-data push-data.of-before")
        again.run("cp -rp restored push-data")  # where pushctl looks for the key and certificate
        told = again.run(f"pushctl message {message} --devices")
        assert "stored" in told
        assert "kept" in again.run("pushctl listen --credentials phone.json --count 1")
        again.run("rm -rf push-data && mv push-data.of-before push-data")


def test_a_snapshot_of_a_server_is_restored(server: Server) -> None:
    """Started without an append-only file, then with one: the keys are those of the snapshot."""
    shell = server.shell
    message = waiting_message(shell)
    shell.run("mkdir -p -m 700 backup")
    shell.run(block("--rdb"))
    port = str(free_port())
    try:
        output = shell.run(block("--port 6380").replace("6380", port))
        assert int(output.split()[-1]) > 5
        there = f"redis-cli -p {port}"
        assert shell.run(f"{there} exists push:message:{message}").strip() == "1"
        assert "aof_enabled:1" in shell.run(f"{there} info persistence")
    finally:
        # SHUTDOWN is refused while the first append-only file is written.
        said = shell.run(f"redis-cli -p {port} info server || true")
        for pid in re.findall(r"process_id:(\d+)", said):
            os.kill(int(pid), signal.SIGKILL)


def test_a_certificate_is_replaced_while_clients_trust_both(server: Server) -> None:
    shell, log = server.shell, server.running.log
    shell.run("cp push-data/server.crt before.crt")
    assert "Verification: OK" in shell.run(block("new.key -out"))
    shell.run(block("mv push-data/new.key"))
    server.running.process.send_signal(signal.SIGHUP)
    wait_for(lambda: "SIGHUP: reloaded" in log.read_text(), log.read_text)
    after = block("openssl s_client").splitlines()[-1]
    assert "Verification: OK" in shell.run(after)
    # The one of before is no longer shown.
    only_old = after.replace("for-clients.crt", "before.crt")
    only_old = only_old.replace("-brief", "-verify_return_error")
    with pytest.raises(AssertionError, match="verif"):
        shell.run(only_old)


def test_the_script_of_logrotate_makes_a_daemon_open_its_log_again(
    server: Server, tmp_path: Path
) -> None:
    script = re.search(r"postrotate\n(.*?)endscript", block("postrotate", "text"), re.DOTALL)
    assert script
    run = tmp_path / "opt" / "run"
    run.mkdir(parents=True)
    (run / "push.pid").write_text(str(server.running.process.pid))
    log = server.running.log
    log.rename(log.with_suffix(".1"))
    server.shell.run(script[1])
    wait_for(lambda: log.exists() and "SIGHUP: reloaded" in log.read_text())


def test_the_commands_that_look_print_something(server: Server) -> None:
    looked = server.shell.run(block("pushctl stats"))
    assert '{"status":"ok"' in looked
    assert re.search(r"^push-api .*\b0\.1\.0\b", looked, re.MULTILINE)
    measured = server.shell.run(block("pushctl bench"))
    for name in ("used_memory_human:", "process_resident_memory_bytes ", "process_open_fds "):
        assert name in measured


def test_the_file_for_all_machines_is_a_configuration(tmp_path: Path) -> None:
    config = tmp_path / "push.toml"
    config.write_text(block("[auth]", "toml"))
    settings = load(config_file=str(config))
    assert [key.name for key in settings.auth.keys] == ["ops", "app"]
    # What the table says must be the same on each machine is a setting that there is.
    table = PAGE[PAGE.index("| what | where | why |") : PAGE.index("One file for all")]
    found = re.findall(r"`\[(\w+)\] (\w+)`", table)
    assert len(found) >= 4
    for section, name in found:
        assert hasattr(getattr(settings, section), name)
