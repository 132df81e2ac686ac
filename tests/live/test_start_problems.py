"""What keeps a daemon from starting: one line on the terminal, which says what to do."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.running import Running
from tests import warm
from tests.waiting import DEADLINE_SECONDS, wait_for

TWISTD = str(Path(sys.executable).with_name("twistd"))
TAPS = ("push", "push-connector", "push-api", "push-group", "push-sub")


def start(
    folder: Path,
    *options: str,
    tap: str = "push",
    of_twistd: tuple[str, ...] = (),
    files: int | None = None,
    **settings: str,
) -> tuple[int, list[str]]:
    """The exit status and the lines on standard error of a start that fails."""
    names = {
        "server_data": str(folder / "data"),
        "connector_tcp": "127.0.0.1:0",
        "connector_tls": "",
        "connector_ws": "",
        "connector_wss": "",
        "connector_admin": "127.0.0.1:0",
        "http_listen": "127.0.0.1:0",
        **({} if tap == "push" else {"redis_url": "redis://127.0.0.1:1"}),
        **settings,
    }
    twistd = TWISTD if files is None else str(warm.commands() / "twistd")
    command = [twistd, "-n", "--pidfile=", f"--logfile={folder / 'log'}", *of_twistd, tap, *options]
    if files is not None:
        command = ["sh", "-c", f'ulimit -n {files}; exec "$@"', "sh", *command]
    ran = warm.run(
        command,
        cwd=folder,
        env={**os.environ, **{f"PUSH_{name.upper()}": text for name, text in names.items()}},
        timeout=DEADLINE_SECONDS,
    )
    return ran.returncode, [line for line in ran.stderr.splitlines() if line.strip()]


def the_line(outcome: tuple[int, list[str]]) -> str:
    status, lines = outcome
    assert (status, len(lines)) == (1, 1), lines
    assert "Traceback" not in lines[0]
    return lines[0]


@pytest.mark.parametrize(
    ("config", "said"),
    [
        ('[auth]\nkeys = [{name = "a", sha256 = "zz", scopes = ["push"]}]', "64 hexadecimal"),
        (
            f'[auth]\nkeys = [{{name = "a", sha256 = "{"a" * 64}", scopes = ["psh"]}}]',
            "scopes: push, read, admin, register, chat",
        ),
        (f'[auth]\nkeys = [{{name = "a", sha = "{"a" * 64}"}}]', 'sha256 = "…"'),
        (
            "[auth]\nkeys = ["
            + ", ".join(f'{{name = "{n}", sha256 = "{"a" * 64}", scopes = ["push"]}}' for n in "ab")
            + "]",
            "the keys a and b are the same; give each a key of its own",
        ),
        ("[connector\n", "not TOML"),
        ("[connector]\nwindw = 3", "did you mean window?"),
        ("[connector]\nheartbeat = 5", "connector.heartbeat (5) is outside"),
        ("[limits]\nttl_max = 60\nttl_default = 90", "is above limits.ttl_max (60)"),
        ('[http]\ncertificate = "a"', "http.certificate and http.private_key belong together"),
        ('[connector]\nclient_ca = "a"', "connector.client_ca is for TLS"),
    ],
)
def test_a_bad_configuration(config: str, said: str, tmp_path: Path) -> None:
    path = tmp_path / "push.toml"
    path.write_text(config)
    assert said in the_line(start(tmp_path, "--config", str(path)))


@pytest.mark.parametrize(
    "config",
    [
        '[server]\n"a\\u001b[31mx" = 1',
        '["a\\u202ex"]\n',
        '"a\\u001b[31mx" = 1',
        '[connector]\ntcp = "\\u009b1m"',
    ],
)
def test_nothing_of_the_configuration_controls_the_terminal(config: str, tmp_path: Path) -> None:
    path = tmp_path / "push.toml"
    path.write_text(config)
    line = the_line(start(tmp_path, "--config", str(path), connector_tcp="127.0.0.1:0"))
    assert line.isprintable()


@pytest.mark.parametrize("tap", ["push", "push-connector"])
def test_a_public_listener_without_tls_that_is_not_allowed(tap: str, tmp_path: Path) -> None:
    where = {"connector_tcp": "0.0.0.0:0", "connector_allow_plain": "false"}
    line = the_line(start(tmp_path, tap=tap, **where))
    assert "[connector] tcp = 0.0.0.0:0 is a public address without TLS" in line


def test_a_certificate_for_http_that_is_not_there(tmp_path: Path) -> None:
    pair = {"http_certificate": "/no.crt", "http_private_key": "/no.key"}
    assert "/no.crt: No such file" in the_line(start(tmp_path, **pair))


def test_a_data_folder_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    line = the_line(start(tmp_path, server_data=str(tmp_path / "file" / "data")))
    assert "set [server] data" in line


def test_a_second_daemon_on_one_data_folder(push_server: Running, tmp_path: Path) -> None:
    line = the_line(start(tmp_path, server_data=str(push_server.data_dir)))
    assert str(push_server.data_dir) in line
    assert "stop it, or set [server] data" in line


@pytest.mark.parametrize("tap", TAPS)
def test_a_port_that_is_taken(tap: str, push_server: Running, tmp_path: Path) -> None:
    taken = f"127.0.0.1:{push_server.http[1]}"
    section, key = ("connector", "admin") if tap == "push-connector" else ("http", "listen")
    line = the_line(start(tmp_path, tap=tap, **{f"{section}_{key}": taken}))
    assert f"cannot listen on {taken}" in line
    assert f"Free the port or set [{section}] {key}" in line


def test_an_address_of_another_machine(tmp_path: Path) -> None:
    line = the_line(start(tmp_path, http_listen="192.0.2.1:8080"))
    assert "Set [http] listen to an address of this machine" in line


@pytest.mark.parametrize(
    ("tap", "off", "said"),
    [
        ("push-api", "http_listen", "set [http] listen"),
        ("push-sub", "http_listen", "set [http] listen"),
        ("push-group", "http_listen", "set [http] listen"),
        ("push-connector", "connector_tcp", "set [connector] tcp, tls, ws or wss"),
    ],
)
def test_nothing_to_listen_on(tap: str, off: str, said: str, tmp_path: Path) -> None:
    assert said in the_line(start(tmp_path, tap=tap, **{off: ""}))


@pytest.mark.parametrize("option", ["logfile", "pidfile"])
def test_a_file_of_twistd_that_cannot_be_written(option: str, tmp_path: Path) -> None:
    path = tmp_path / "nowhere" / "file"
    line = the_line(start(tmp_path, of_twistd=(f"--{option}={path}",)))
    assert f"--{option} {path}: there is no folder" in line


@pytest.mark.parametrize("tap", TAPS)
def test_too_few_open_files(tap: str, tmp_path: Path) -> None:
    line = the_line(start(tmp_path, tap=tap, files=100))
    assert "may have 100 files open" in line
    assert "ulimit -n" in line
    assert "LimitNOFILE" in line


def test_redis_that_is_unreachable_is_waited_for_and_said_at_once(tmp_path: Path) -> None:
    """No start problem: the daemon serves its health and keeps trying."""
    log = tmp_path / "log"
    process = subprocess.Popen(
        [TWISTD, "-n", "--pidfile=", f"--logfile={log}", "push-api"],
        env={
            **os.environ,
            "PUSH_REDIS_URL": "redis://127.0.0.1:1",
            "PUSH_HTTP_LISTEN": "127.0.0.1:0",
            "PUSH_SERVER_DATA": str(tmp_path / "data"),
        },
        stdin=subprocess.DEVNULL,
    )
    try:
        wait_for(lambda: log.exists() and "Trying again" in log.read_text(), "a line in the log")
        assert process.poll() is None
    finally:
        process.terminate()
        assert process.wait(DEADLINE_SECONDS) == 0
    (line,) = [line for line in log.read_text().splitlines() if "Trying again" in line]
    assert "Redis at redis://127.0.0.1:1/0 is unreachable: Connection was refused" in line
