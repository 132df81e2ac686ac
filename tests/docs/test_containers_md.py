"""The Dockerfile and compose.yaml, read: there is no engine here that could build them."""

from __future__ import annotations

import importlib
import json
import re
import shlex
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import yaml

from push.daemons.config.settings import Settings
from tests.test_wheel import SOURCES

ROOT = Path(__file__).parents[2]
COMPOSE = yaml.safe_load((ROOT / "compose.yaml").read_text("utf-8"))
SERVICES: dict[str, Any] = COMPOSE["services"]
DAEMONS = {name: each for name, each in SERVICES.items() if "build" in each}
README = (ROOT / "README.md").read_text("utf-8")


class Instruction(NamedTuple):
    name: str
    rest: str


def instructions() -> list[list[Instruction]]:
    """Those of the Dockerfile, by stage; comments and line ends are as Docker treats them."""
    lines = (ROOT / "Dockerfile").read_text("utf-8").splitlines()
    text = "\n".join(line for line in lines if not line.lstrip().startswith("#"))
    stages: list[list[Instruction]] = []
    for line in text.replace("\\\n", " ").splitlines():
        if line.strip():
            name, _, rest = line.partition(" ")
            if name == "FROM":
                stages.append([])
            stages[-1].append(Instruction(name, " ".join(rest.split())))
    return stages


def of(stage: list[Instruction], name: str) -> list[str]:
    return [each.rest for each in stage if each.name == name]


def settings_of(service: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> Settings:
    """What the daemon itself makes of the command and the variables; PUSH_HOST is not set."""
    tap, *options = service["command"]
    for name, text in {**image_variables(), **service.get("environment", {})}.items():
        monkeypatch.setenv(name, re.sub(r"\$\{\w+:-([^}]*)\}", r"\1", text))
    module = "all_in_one" if tap == "push" else tap.removeprefix("push-")
    parsed = importlib.import_module(f"push.daemons.twistd.{module}").Options()
    parsed.parseOptions(options)
    settings: Settings = parsed.settings
    return settings


def image_variables() -> dict[str, str]:
    words = shlex.split(" ".join(of(instructions()[-1], "ENV")))
    pairs = dict(word.split("=", 1) for word in words)
    return {name: text for name, text in pairs.items() if name.startswith("PUSH_")}


def test_the_dockerfile_has_only_instructions_that_there_are() -> None:
    known = [
        "FROM",
        "RUN",
        "COPY",
        "ENV",
        "USER",
        "WORKDIR",
        "VOLUME",
        "EXPOSE",
        "STOPSIGNAL",
        "ENTRYPOINT",
        "CMD",
    ]
    for stage in instructions():
        assert {each.name for each in stage} <= set(known)
        assert stage[0].name == "FROM"


def test_the_image_builds_from_what_makes_the_wheel() -> None:
    """tests/test_wheel.py builds and starts the package of exactly these."""
    build, _ = instructions()
    copied = [shlex.split(rest) for rest in of(build, "COPY")]
    assert sorted(name for words in copied for name in words[:-1]) == sorted(SOURCES)
    # A folder's content goes into the target: the target has its name.
    for words in copied:
        assert words[-1] == (words[0] if (ROOT / words[0]).is_dir() else "./")


def test_what_is_copied_is_there_and_is_not_ignored() -> None:
    ignored = (ROOT / ".dockerignore").read_text().splitlines()
    assert "*" in ignored
    for stage in instructions():
        for rest in of(stage, "COPY"):
            if not rest.startswith("--from"):
                for name in shlex.split(rest)[:-1]:
                    assert (ROOT / name).exists()
                    assert f"!{name.split('/')[0]}" in ignored


def test_the_image_runs_twistd_as_no_root_and_shows_every_port() -> None:
    build, final = instructions()
    (copy,) = (rest for rest in of(final, "COPY") if rest.startswith("--from"))
    came_from, source, target = copy.split()
    assert of(build, "FROM")[0].endswith(f" AS {came_from.removeprefix('--from=')}")
    assert source == target  # a virtual environment does not work elsewhere
    assert f"python -m venv {source}" in " ".join(of(build, "RUN"))
    # The interpreter that it links to is the same in both.
    assert of(build, "FROM")[0].split()[0] == of(final, "FROM")[0]
    (user,) = of(final, "USER")
    assert f" {user} " in of(final, "RUN")[0]
    assert user != "root"
    assert json.loads(of(final, "ENTRYPOINT")[0]) == ["twistd", "-n", "--pidfile="]
    assert json.loads(of(final, "CMD")[0]) == ["push"]
    table = README[README.index("## Daemons") :]
    assert set(of(final, "EXPOSE")[0].split()) == set(re.findall(r"\b(?:67|80)\d\d\b", table))


def test_the_data_is_in_the_volume_of_the_image() -> None:
    _, final = instructions()
    (volume,) = of(final, "VOLUME")
    assert image_variables()["PUSH_SERVER_DATA"].startswith(f"{volume}/")
    for service in DAEMONS.values():
        assert f"data:{volume}" in service["volumes"]


def test_compose_has_every_daemon_once() -> None:
    table = set(re.findall(r"`twistd (push-\w+)`", README))
    assert sorted(each["command"][0] for each in DAEMONS.values()) == sorted(table)


@pytest.mark.parametrize("name", sorted(DAEMONS))
def test_a_daemon_takes_its_command_and_variables(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    service = DAEMONS[name]
    settings = settings_of(service, monkeypatch)
    host, port = re.fullmatch(r"redis://(\w+):(\d+)", str(settings.redis.url)).groups()  # type: ignore[union-attr]
    assert host in SERVICES
    assert port == "6379"
    assert service["depends_on"][host] == {"condition": "service_healthy"}
    assert "healthcheck" in SERVICES[host]


@pytest.mark.parametrize("name", sorted(DAEMONS))
def test_what_is_published_and_what_is_checked_is_listened_on(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    service = DAEMONS[name]
    settings = settings_of(service, monkeypatch)
    connector, http = settings.connector, settings.http
    is_connector = name == "connector"
    open_to_all = {
        address.rpartition(":")[2]
        for address in ((connector.tls, connector.wss) if is_connector else (http.listen,))
        if address.startswith("0.0.0.0:")
    }
    published = {port.rpartition(":")[2] for port in service.get("ports", ())}
    assert published == open_to_all
    checked = health_url(service)
    assert checked.rpartition(":")[2] == (
        f"{(connector.admin if is_connector else http.listen).rpartition(':')[2]}/readyz"
    )


def health_url(service: dict[str, Any]) -> str:
    return re.findall(r"urlopen\('(.*?)'\)", service["healthcheck"]["test"][-1])[0]


def test_the_connector_tells_devices_where_its_ports_are_published(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    service = DAEMONS["connector"]
    told = settings_of(service, monkeypatch).connector.public
    assert told == ("tls://localhost:6790", "wss://localhost:6793/ws")
    assert {port.split(":")[0] for port in service["ports"]} == {"6790", "6793"}


def test_each_volume_is_declared_and_the_redis_keeps_its_promises() -> None:
    used = {volume.split(":")[0] for each in SERVICES.values() for volume in each["volumes"]}
    assert used == set(COMPOSE["volumes"])
    command = " ".join(SERVICES["redis"]["command"])
    for wanted in ("appendonly yes", "appendfsync always", "maxmemory-policy noeviction"):
        assert f"--{wanted}" in command
    # "yes" without quotes would be true for YAML, which is no argument.
    assert all(isinstance(word, str) for word in SERVICES["redis"]["command"])


def test_the_page_says_that_nothing_was_built_and_names_what_there_is() -> None:
    page = (ROOT / "docs" / "containers.md").read_text("utf-8")
    assert "**They were not built where this was written:**" in page
    for name in re.findall(r"docker compose (?:exec|logs --follow) (\w+)", page):
        assert name in DAEMONS
    for variable in re.findall(r"\bPUSH_[A-Z_]*[A-Z]\b", page):
        assert (
            variable == "PUSH_HOST" or variable.split("_", 2)[1].lower() in Settings.__annotations__
        )
