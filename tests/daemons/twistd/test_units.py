"""The systemd units: systemd takes them, and twistd takes the commands in them."""

from __future__ import annotations

import configparser
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from push.daemons.twistd import all_in_one, api, connector, group, sub, webhooks
from tests.waiting import DEADLINE_SECONDS

ETC = Path(__file__).parents[3] / "etc"
UNITS = sorted((ETC / "systemd").iterdir())
TWISTD = "/opt/push/venv/bin/twistd"
OPTIONS = {
    module.Options.tap: module.Options  # type: ignore[attr-defined]
    for module in (all_in_one, api, connector, group, sub, webhooks)
}
SPECIFIERS = {"%H": "host.example", "%i": "1"}

by_name = pytest.mark.parametrize("unit", UNITS, ids=[unit.stem for unit in UNITS])


class Unit(configparser.RawConfigParser):
    """A unit as far as it matters here: of a name that stands twice, the last counts."""

    def __init__(self, path: Path) -> None:
        super().__init__(strict=False, delimiters=("=",))
        self.read_string(path.read_text().replace("\\\n", " "))

    def optionxform(self, optionstr: str) -> str:
        return optionstr


def filled_in(text: str) -> str:
    for specifier, value in SPECIFIERS.items():
        text = text.replace(specifier, value)
    assert "%" not in text, text
    return text


def test_there_is_a_unit_for_each_daemon() -> None:
    assert {unit.stem.removesuffix("@") for unit in UNITS} == set(OPTIONS)


@by_name
def test_the_daemon_takes_its_command_and_variables(
    unit: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    service = Unit(unit)["Service"]
    program, *words = shlex.split(filled_in(service["ExecStart"]))
    assert program == TWISTD
    tap = unit.stem.removesuffix("@")
    at = words.index(tap)
    assert words[:at] == ["-n", "--pidfile="]
    for variable in shlex.split(filled_in(service.get("Environment", ""))):
        monkeypatch.setenv(*variable.split("=", 1))
    options = OPTIONS[tap]()
    here = {"/etc/push/push.toml": str(ETC / "push.toml")}
    options.parseOptions([here.get(word, word) for word in words[at + 1 :]])
    server = options.settings.server
    instance = unit.stem.endswith("@")
    assert (server.reuse_port, server.node) == (instance, "host.example-1" if instance else "")
    if instance:
        assert options.settings.connector.admin == "127.0.0.1:6801"


@by_name
def test_a_stop_reaches_the_daemon_first_and_a_crash_is_followed_by_a_start(unit: Path) -> None:
    service = Unit(unit)["Service"]
    assert service["KillMode"] == "mixed"
    assert service["Restart"] == "on-failure"
    assert int(service["TimeoutStopSec"]) >= 300
    assert int(service["LimitNOFILE"]) >= 100_000
    assert service["User"] == "push"
    assert service["ExecReload"] == "/bin/kill -HUP $MAINPID"


def test_what_they_have_in_common_is_the_same() -> None:
    own = {"ExecStart", "Environment"}
    services = [{k: v for k, v in Unit(unit)["Service"].items() if k not in own} for unit in UNITS]
    assert all(service == services[0] for service in services)


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="no systemd-analyze")
@by_name
def test_systemd_takes_it(unit: Path, tmp_path: Path) -> None:
    """Only the program is another one: systemd looks whether it is there."""
    copy = tmp_path / unit.name.replace("@", "@1")
    here = str(Path(sys.executable).with_name("twistd"))
    copy.write_text(unit.read_text().replace(TWISTD, here))
    ran = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", str(copy)],
        capture_output=True,
        text=True,
        timeout=DEADLINE_SECONDS,
        check=False,
    )
    said = [line for line in ran.stderr.splitlines() if copy.name in line]
    assert (ran.returncode, said) == (0, [])
