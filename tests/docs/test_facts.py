"""Facts that are in two places: defaults, ports, scopes and limits, in code and in documents.

Where one place can be made from the other, it is (`push.wire.defaults`); these are the rest.
"""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path
from typing import Any, get_args

import pytest
from msgspec import Raw

from push.chat.settings import ChatSettings
from push.daemons.config.loading import KEYS, as_toml
from push.daemons.config.settings import Settings
from push.daemons.part_settings import chat_settings, push_limits, session_limits
from push.daemons.twistd import all_in_one, api, connector, group, sub, webhooks
from push.http.checks import PushLimits
from push.http.framework.request_reading import MAX_IDEMPOTENCY_KEY
from push.http.framework.route import MAX_BODY_BYTES
from push.http.routes.push import MAX_BATCH_BYTES
from push.pushctl.terminal.options import DEFAULT_URL, LOCAL_SERVER
from push.pushing.content import PushContent
from push.sdk.address import DEFAULT_PORTS
from push.session.server_answers import SessionLimits
from push.streams.publisher import Retention
from push.wire import defaults
from push.wire.api.operate.keys import ALL_SCOPES, Scope
from push.wire.api.push import MAX_BATCH_ITEMS, MAX_TARGETS
from push.wire.bodies import MAX_JSON_DEPTH
from push.wire.errors import STATUS_OF_CODE
from push.wire.signals import ConnectStatus

ROOT = Path(__file__).parents[2]
DEFAULTS = Settings()
MODULES = {
    module.Options.tap: module.Options  # type: ignore[attr-defined]
    for module in (all_in_one, api, connector, group, sub, webhooks)
}


@cache
def text_of(path: str) -> str:
    return (ROOT / path).read_text("utf-8")


def table(path: str, heading: str) -> list[list[str]]:
    """The cells of the first table after `heading`, without its own heading."""
    after = text_of(path).split(heading, 1)[1]
    rows = re.search(r"(?:^\|.*\n)+", after, re.M)
    assert rows, heading
    return [[cell.strip() for cell in row.split("|")[1:-1]] for row in rows[0].splitlines()[2:]]


def numbers(text: str) -> list[int]:
    return [int(found.replace(",", "")) for found in re.findall(r"\d[\d,]*\d|\d", text)]


# --- Defaults -----------------------------------------------------------------------------------


def test_a_part_without_settings_has_the_defaults_of_the_settings() -> None:
    assert session_limits(DEFAULTS.connector) == SessionLimits()
    assert push_limits(DEFAULTS.limits) == PushLimits()
    assert chat_settings(DEFAULTS.chat, DEFAULTS.limits) == ChatSettings()
    assert PushContent(Raw(b"1")).ttl_seconds == DEFAULTS.limits.ttl_default
    assert Retention() == Retention(
        device_max_messages=DEFAULTS.connector.max_backlog,
        shared_max_messages=DEFAULTS.limits.shared_max_count,
    )


def test_every_option_tells_its_default() -> None:
    """`--help` of each daemon, against what it starts with."""
    for tap, options in MODULES.items():
        replaced = options.replaced_defaults
        by_option = {key.option: key for key in KEYS.values()}
        for name, _, _, told in options.optParameters:
            if name == "config":
                continue
            key = by_option[name]
            default = replaced.get((key.section, key.name), key.default)
            assert f"(default {as_toml(default)}" in told, (tap, name)


def test_the_example_file_has_every_setting_with_its_default() -> None:
    lines = set(text_of("etc/push.toml").splitlines())
    for key in KEYS.values():
        assert f"#{key.name} = {as_toml(key.default)}" in lines


@pytest.mark.parametrize("path", ["docs/operating.md", "docs/chat.md", "docs/cluster.md"])
def test_tables_of_settings_have_their_defaults(path: str) -> None:
    """Of rows whose first cell is `[section] key` and whose second begins with a number."""
    found = re.findall(r"^\| `\[(\w+)\] (\w+)` \| ([\d,]+)", text_of(path), re.M)
    for section, name, default in found:
        assert KEYS[section, name].default == int(default.replace(",", "")), (path, name)


def test_a_setting_that_a_document_names_exists() -> None:
    for path in [ROOT / "README.md", *(ROOT / "docs").glob("*.md")]:
        for section, name in re.findall(r"`\[(\w+)\] (\w+)`", path.read_text("utf-8")):
            assert (section, name) in KEYS, (path.name, section, name)


# --- Ports --------------------------------------------------------------------------------------


def ports_of(tap: str) -> list[int]:
    """Where a daemon listens without settings."""
    settings: Any = DEFAULTS
    connector = settings.connector
    listeners = (connector.tcp, connector.tls, connector.ws, connector.wss)
    devices = [address.port for address in listeners]
    listen = MODULES[tap].replaced_defaults.get(("http", "listen"), settings.http.listen)
    http = int(str(listen).rpartition(":")[2])
    return {
        "push": [*devices, http],
        "push-connector": [*devices, connector.admin.port],
    }.get(tap, [http])


def test_the_readme_has_where_each_daemon_listens() -> None:
    told = {row[0].strip("`").removeprefix("twistd "): numbers(row[2]) for row in daemons()}
    assert told == {tap: ports_of(tap) for tap in MODULES}


def daemons() -> list[list[str]]:
    return table("README.md", "## Daemons")


def test_the_table_of_paths_has_the_ports_of_the_daemons() -> None:
    rows = re.findall(r"^\| .*? \| (push-\w+) \| (\d+) \|$", text_of("docs/cluster.md"), re.M)
    assert {tap for tap, _ in rows} == {"push-api", "push-group", "push-sub"}
    for tap, port in rows:
        assert [int(port)] == ports_of(tap)


def test_clients_go_where_a_server_listens_without_settings() -> None:
    tcp, tls, ws, wss, http = ports_of("push")
    assert {"tcp": tcp, "tls": tls} == DEFAULT_PORTS
    assert f"http://127.0.0.1:{http}" == DEFAULT_URL
    assert f"tls://127.0.0.1:{tls}" == LOCAL_SERVER
    carriers = dict(
        re.findall(r"^\| `(\w+)://host:(\d+)(?:/ws)?` \|", text_of("docs/protocol.md"), re.M)
    )
    told = {carrier: int(port) for carrier, port in carriers.items()}
    assert told == {"tcp": tcp, "tls": tls, "ws": ws, "wss": wss}


# --- Scopes -------------------------------------------------------------------------------------


def test_scopes_are_the_same_everywhere() -> None:
    assert get_args(Scope) == ALL_SCOPES
    told = text_of("docs/http.md").split("## Keys and scopes", 1)[1].split("\n## ", 1)[0]
    assert {scope for scope in ALL_SCOPES if f"`{scope}`" in told} == set(ALL_SCOPES)
    example = " ".join(text_of("etc/push.toml").replace("#", "").split())
    assert f"Scopes: {', '.join(ALL_SCOPES)}." in example
    assert set(re.findall(r'scope="(\w+)"', routes())) <= set(ALL_SCOPES)
    assert [scope for scope in ALL_SCOPES if f'"{scope}"' not in routes()] == []


def routes() -> str:
    return "".join(path.read_text("utf-8") for path in (ROOT / "push" / "http").rglob("*.py"))


# --- Limits of HTTP -----------------------------------------------------------------------------


def test_the_limits_of_http() -> None:
    told = {row[0]: row[1] for row in table("docs/http.md", "## Limits")}
    limits, connector = DEFAULTS.limits, DEFAULTS.connector
    mib, kib = 1024 * 1024, 1024
    one, batch = numbers(told["body"])
    assert (one * mib, batch * mib) == (MAX_BODY_BYTES, MAX_BATCH_BYTES)
    assert numbers(told["`data` + `title` + `body`"])[0] * kib == limits.max_payload
    assert numbers(told["`ttl`"])[0] == limits.ttl_max
    assert numbers(told["`tokens`, `users`"]) == [MAX_TARGETS]
    assert numbers(told["items of a batch"]) == [MAX_BATCH_ITEMS]
    hours = defaults.IDEMPOTENCY_KEY_SECONDS // 3600
    assert numbers(told["an idempotency key"]) == [MAX_IDEMPOTENCY_KEY, hours]
    waiting = numbers(told["messages that wait in a device's own stream"])
    assert waiting == [connector.max_backlog]
    assert numbers(told["nesting of JSON"]) == [MAX_JSON_DEPTH]
    assert numbers(told["topics that a device follows"])[0] == DEFAULTS.topics.max_per_device
    assert numbers(told["bans"]) == [limits.bans_max]
    registrations = numbers(told["registrations of one address"])
    assert registrations == [limits.registrations_per_minute]
    field = next(row for row in re.findall(r"^\| `ttl` \| .*$", text_of("docs/http.md"), re.M))
    assert numbers(field)[:3] == [limits.ttl_default, 0, limits.ttl_max]


# --- CONNECT_ACK --------------------------------------------------------------------------------


def test_the_results_of_connect_that_are_sent_are_called_so() -> None:
    sent = set()
    for folder in ("connector", "session"):
        for path in (ROOT / "push" / folder).rglob("*.py"):
            sent |= set(re.findall(r"ConnectStatus\.([A-Z_]+)", path.read_text("utf-8")))
    values = sorted(ConnectStatus[name].value for name in sent)
    (row,) = [
        row for row in table("docs/protocol.md", "this version speaks") if "`CONNECT_ACK`" in row
    ]
    first, last = numbers(row[1])
    assert list(range(first, last + 1)) == values
    assert numbers(row[2]) == sorted({status.value for status in ConnectStatus} - set(values))


def test_each_error_code_is_in_a_document() -> None:
    text = "".join(text_of(f"docs/{page}.md") for page in ("http", "protocol", "chat"))
    assert [code for code in STATUS_OF_CODE if f"`{code}`" not in text] == []
