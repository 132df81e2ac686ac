"""What operators do with `pushctl`, at a real server: top, events, trace, bench and the others."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from benchmarks.running import Running, started_server
from push.pushctl.main import main
from push.sdk.backend import PushAPI
from tests import warm
from tests.faults.test_webhooks import Endpoint
from tests.live.test_terminal import CTRL_C, Terminal
from tests.waiting import DEADLINE_SECONDS, wait_for

PUSHCTL = str(Path(sys.executable).with_name("pushctl"))
HOME = "\x1b[H"
DEVICE = {"platform": "linux", "app": "example"}


@pytest.fixture(scope="module")
def endpoint() -> Iterator[Endpoint]:
    """A receiver of webhooks, which the server's configuration names."""
    made = Endpoint()
    yield made
    made.close()


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, endpoint: Endpoint) -> Iterator[Running]:
    folder = tmp_path_factory.mktemp("server") / "data"
    with started_server(
        "push",
        folder,
        limits_registrations_per_minute="0",
        webhooks_endpoints=endpoint.setting("message.acknowledged"),
    ) as running:
        yield running


@pytest.fixture
def api(server: Running) -> Iterator[PushAPI]:
    with PushAPI(server.http_url, server.admin_key) as made:
        yield made


@pytest.fixture
def variables(server: Running) -> dict[str, str]:
    host, port = server.tls_address
    return {
        "PUSH_URL": server.http_url,
        "PUSH_KEY": server.admin_key,
        "PUSH_SERVER": f"tls://{host}:{port}",
        "PUSH_SERVER_DATA": str(server.data_dir),
        "XDG_CONFIG_HOME": "/nonexistent",
    }


class Said(NamedTuple):
    status: int
    out: str
    err: str

    @property
    def objects(self) -> list[Any]:
        return [json.loads(line) for line in self.out.splitlines()]


Ctl = Callable[..., Said]


@pytest.fixture
def ctl(
    variables: dict[str, str],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> Ctl:
    """pushctl in this process."""
    for name, value in variables.items():
        monkeypatch.setenv(name, value)

    def call(*arguments: str) -> Said:
        capsys.readouterr()
        with pytest.raises(SystemExit) as ended:
            main(arguments)
        status = ended.value.code
        assert isinstance(status, int)
        return Said(status, *capsys.readouterr())

    return call


@pytest.fixture
def begin(variables: dict[str, str]) -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """pushctl as a process of its own, beside this one."""
    processes: list[subprocess.Popen[str]] = []

    def start(*arguments: str) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [warm.commands() / "pushctl", *arguments],
            env={**os.environ, **variables},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        processes.append(process)
        return process

    yield start
    for process in processes:
        process.kill()
        process.communicate()


@pytest.fixture
def terminal(tmp_path: Path, variables: dict[str, str]) -> Iterator[Callable[..., Terminal]]:
    opened: list[Terminal] = []

    def start(*arguments: str) -> Terminal:
        settings = {**variables, "TERM": "xterm", "COLUMNS": "100", "LINES": "40"}
        opened.append(Terminal(tmp_path, PUSHCTL, *arguments, **settings))
        return opened[-1]

    yield start
    for one in opened:
        one.close()


# --- top ---------------------------------------------------------------------------------------


def test_top_is_drawn_in_place_until_ctrl_c_and_leaves_the_terminal_as_it_was(
    terminal: Callable[..., Terminal], api: PushAPI
) -> None:
    top = terminal("top", "--every", "1")
    top.read_until(lambda: top.text.count(HOME) >= 3)
    for word in ("connections", "pushes/s", "ack p99, ms", "push-connector"):
        assert word in top.text
    top.type(CTRL_C)
    assert top.wait_for_end() == 130
    begin, end = top.text.index("\x1b[?1049h"), top.text.rindex("\x1b[?1049l")
    assert begin < end
    assert top.text.rindex("\x1b[?25h") > top.text.rindex("\x1b[?25l"), "the cursor is back"
    assert "Traceback" not in top.text


def test_top_elsewhere_is_lines_without_a_terminals_signs(ctl: Ctl, server: Running) -> None:
    said = ctl("top", "--every", "1", "--count", "2")
    assert (said.status, said.err) == (0, "")
    assert "\x1b" not in said.out
    assert said.out.count(f"push {server.http_url}") == 2
    (seen,) = ctl("top", "--count", "1", "--json").objects
    assert set(seen["figures"]) >= {"connections", "pushes", "ack_p99_ms", "redis_ms"}
    assert {node["service"] for node in seen["nodes"]} >= {"push-api", "push-connector"}
    (node,) = {node["instance"] for node in seen["nodes"]}
    assert ctl("top", "--count", "1", "--node", node).status == 0
    assert ctl("top", "--count", "1", "--node", "nobody").status == 1


# --- events ------------------------------------------------------------------------------------


def test_events_come_as_they_happen(
    begin: Callable[..., subprocess.Popen[str]], ctl: Ctl, api: PushAPI, tmp_path: Path
) -> None:
    pair = api.register_device(**DEVICE)
    api.push(to={"token": pair.token}, data=1)
    wanted = ("--token", pair.token, "--kind", "connected", "--kind", "disconnected")
    following = begin("events", *wanted, "--json", "--count", "2")
    shown: list[str] = []

    def has_come() -> bool:
        """It follows from some moment on: a device that comes and goes until then is not seen."""
        device = ("--token", pair.token, "--secret", pair.secret)
        api.push(to={"token": pair.token}, data=1)
        assert ctl("listen", *device, "--count", "1").status == 0
        return following.poll() is not None

    wait_for(has_come)
    out, err = following.communicate(timeout=DEADLINE_SECONDS)
    assert (following.returncode, err) == (0, "")
    shown = [json.loads(line) for line in out.splitlines()]
    assert {event["event"] for event in shown} <= {"connected", "disconnected"}
    assert {event["token"] for event in shown} == {pair.token}


def test_events_end_after_their_time_and_say_what_is_wrong(ctl: Ctl) -> None:
    assert ctl("events", "--for", "1s").status == 0
    refused = ctl("events", "--key", "wrong")
    assert (refused.status, refused.err.count("\n")) == (1, 1)
    assert "invalid API key" in refused.err


# --- trace -------------------------------------------------------------------------------------


def why(ctl: Ctl, message: str, token: str) -> str:
    """The reason, and there is a sentence for it."""
    (story,) = ctl("trace", message, "--device", token, "--json").objects
    (line,) = story["devices"]
    assert line["text"].endswith(".")
    assert "{" not in line["text"]
    assert re.search(
        rf"^{re.escape(token)}: \S.*\.$", ctl("trace", message, "--device", token).out, re.M
    )
    return str(line["why"])


def test_trace_says_why_a_message_did_not_arrive(ctl: Ctl, api: PushAPI) -> None:
    first, second = (api.register_device(**DEVICE) for _ in range(2))
    token = first.token
    waits = api.push(to={"token": token}, data=1).id
    assert why(ctl, waits, token) == "never_connected"
    assert why(ctl, waits, second.token) == "not_addressed"
    assert why(ctl, waits, "03DMV9F0J4AQ8") == "unknown_device"
    device = ("--token", token, "--secret", first.secret)
    assert ctl("listen", *device, "--count", "1").status == 0
    wait_for(lambda: why(ctl, waits, token) == "acknowledged")
    wait_for(lambda: not api.device(token)["online"])
    assert why(ctl, api.push(to={"token": token}, data=1).id, token) == "offline"
    cancelled = api.push(to={"token": token}, data=1).id
    api.cancel(cancelled)
    assert why(ctl, cancelled, token) == "cancelled"
    replaced = api.push(to={"token": token}, data=1, collapse="score").id
    api.push(to={"token": token}, data=2, collapse="score")
    assert why(ctl, replaced, token) == "dropped_collapsed"
    expired = api.push(to={"token": token}, data=1, ttl=1).id
    wait_for(lambda: why(ctl, expired, token) == "expired_offline")
    api.bind("anna", second.token)
    assert why(ctl, api.push(to={"user": "anna"}, data=1).id, token) == "not_bound"
    topic = api.push(to={"topic": "news"}, data=1).id
    assert why(ctl, topic, token) == "not_subscribed"
    banned = api.push(to={"token": token}, data=1).id
    api.ban(token=token)
    assert why(ctl, banned, token) == "banned"
    api.unban(token=token)


def test_trace_of_a_device_tells_its_story(ctl: Ctl, api: PushAPI) -> None:
    pair = api.register_device(**DEVICE)
    api.push(to={"token": pair.token}, data="first")
    device = ("--token", pair.token, "--secret", pair.secret)
    assert ctl("listen", *device, "--count", "1").status == 0
    last = api.push(to={"token": pair.token}, data={"text": "second"}).id

    def events() -> list[str]:
        (story,) = ctl("trace", pair.token, "--json").objects
        return [event["event"] for event in story["events"]]

    wait_for(lambda: set(events()) == {"connected", "acknowledged", "disconnected"})
    (story,) = ctl("trace", pair.token, "--json").objects
    assert [message["id"] for message in story["waiting"]] == [last]
    assert (story["stuck"]["message"], story["stuck"]["why"]) == (last, "offline")
    text = ctl("trace", pair.token)
    assert (text.status, text.err) == (0, "")
    assert re.search(r"^waiting +1 message$", text.out, re.MULTILINE)
    places = [text.out.index(word) for word in ("connected ", "acknowledged", "disconnected")]
    assert min(places) == places[0], "the oldest first"
    assert '{"text":"second"}' in text.out
    nothing = ctl("trace", "03DMV9F0J4AQ8Z")
    assert (nothing.status, nothing.err.count("\n")) == (1, 1)


def test_trace_lists_the_devices_that_a_message_did_not_reach(ctl: Ctl, api: PushAPI) -> None:
    tokens = [api.register_device(**DEVICE).token for _ in range(12)]
    message = api.push(to={"tokens": tokens}, data=1).id
    said = ctl("trace", message)
    assert "It was addressed to 12 devices: 12 have not acknowledged it yet." in said.out
    assert sum(token in said.out for token in tokens) == 10
    assert "There are more such devices" in said.out
    (story,) = ctl("trace", message, "--json").objects
    assert (story["outcome"], story["more"], len(story["devices"])) == ("open", True, 10)


# --- bench -------------------------------------------------------------------------------------


@pytest.mark.parametrize("way", [["--batch", "7"], ["--fan-out"], ["--rate", "200", "--qos", "0"]])
def test_bench_measures_real_devices_and_leaves_none(
    ctl: Ctl, api: PushAPI, way: list[str]
) -> None:
    said = ctl("bench", "--devices", "3", "--messages", "30", *way, "--json")
    assert (said.status, said.err) == (0, "")
    (report,) = said.objects
    assert (report["pushes"], report["refused"], report["lost"]) == (30, 0, 0)
    assert report["deliveries"] == (90 if "--fan-out" in way else 30)
    for quantiles in (report["push_ms"], report["delivery_ms"]):
        assert 0 < quantiles["p50"] <= quantiles["p90"] <= quantiles["p99"] <= quantiles["max"]
    assert report["pushes_per_second"] > 0
    assert "pushctl-bench" not in json.dumps([topic.topic for topic in api.each_topic()])


def test_bench_shows_a_bar_on_a_terminal_and_then_the_figures(
    terminal: Callable[..., Terminal],
) -> None:
    bench = terminal("bench", "--devices", "2", "--messages", "40")
    assert bench.wait_for_end() == 0
    for what in ("registering", "connecting", "pushing", "forgetting"):
        assert f"\r{what}" in bench.text
    assert re.search(r"pushing +\[█+ *\] +\d+%  [\d,]+ of 40", bench.text)
    figures = bench.text[bench.text.rindex("\x1b[K") :]
    assert re.search(r"deliveries +40, ", figures), "nothing of the bar is left among them"


def test_bench_asks_before_it_loads_another_machine(ctl: Ctl) -> None:
    said = ctl("bench", "--url", "https://push.example")
    assert (said.status, said.err.count("\n")) == (2, 1)
    assert "registers 5 devices at https://push.example" in said.err


# --- the others --------------------------------------------------------------------------------


def test_keys_are_made_used_and_revoked_and_that_is_in_the_audit_trail(
    ctl: Ctl, tmp_path: Path
) -> None:
    file = str(tmp_path / "billing.key")
    assert ctl("keys", "make", "billing", "--scope", "read", "--save", file).status == 0
    assert ctl("stats", "--key-file", file).status == 0
    (key,) = (key for key in ctl("keys", "list", "--json").objects if key["name"] == "billing")
    assert key["used"] is not None
    assert ctl("keys", "revoke", "billing", "--yes").status == 0
    refused = ctl("stats", "--key-file", file)
    assert (refused.status, refused.err.count("\n")) == (1, 1)

    def routes() -> list[str]:
        return [entry["route"] for entry in ctl("audit", "--since", "1h", "--json").objects]

    wait_for(lambda: {"POST /v1/keys", "DELETE /v1/keys/{key}"} <= set(routes()))
    by_key = ctl("audit", "--key-name", "admin", "--count", "1", "--json").objects
    assert [entry["key"] for entry in by_key] == ["admin"]
    assert ctl("audit").out.splitlines()[0].split()[:2] == ["TIME", "KEY"]


def test_webhooks_are_added_changed_and_removed(ctl: Ctl, tmp_path: Path) -> None:
    secret = tmp_path / "hook.secret"
    url = "https://93.184.215.14/push"
    options = ["--type", "chat.message", "--disabled", "--save", str(secret)]
    made = ctl("webhooks", "add", url, *options, "--json")
    assert (made.status, made.err) == (0, "")
    id = made.objects[0]["id"]
    assert secret.read_text().startswith("whsec_")
    assert "whsec_" not in made.out
    assert secret.stat().st_mode & 0o777 == 0o600
    assert ctl("webhooks", "add", url, *options).status == 1, "the file is there already"
    listed = {each["id"]: each for each in ctl("webhooks", "list", "--json").objects}
    assert (listed[id]["enabled"], listed[id]["url"]) == (False, url)
    assert len(listed) == 2
    rotated = ctl("webhooks", "change", id, "--rotate", "--description", "ours")
    assert re.search(r"^secret +whsec_", rotated.out, re.MULTILINE)
    assert re.search(r"^description +ours$", ctl("webhooks", "show", id).out, re.MULTILINE)
    assert ctl("webhooks", "change", id).status == 2
    assert ctl("webhooks", "remove", id).status == 2, "it asks first"
    assert ctl("webhooks", "remove", id, "--yes").out == f"{id}: deleted\n"
    refused = ctl("webhooks", "add", "https://127.0.0.1/push", "--type", "chat.message")
    assert (refused.status, refused.err.count("\n")) == (1, 1)


def test_webhooks_are_tested_seen_and_sent_again(ctl: Ctl, endpoint: Endpoint) -> None:
    (id,) = (each["id"] for each in ctl("webhooks", "list", "--json").objects)
    (sent,) = ctl("webhooks", "test", id, "--json").objects
    wait_for(lambda: sent["event"] in endpoint.ids)
    assert endpoint.refused == []

    def tried() -> list[Any]:
        found = ctl("webhooks", "attempts", id, "--json").objects
        return [each for each in found if each["event"] == sent["event"]]

    wait_for(tried)
    assert tried()[0]["status"] == 204
    assert ctl("webhooks", "attempts", id, "--failed").out == "no attempts\n"
    again = ctl("webhooks", "replay", id, "--since", "1h", "--type", "message.acknowledged")
    assert re.fullmatch(rf"{id}: \d+ events? to be sent again\n", again.out)


def test_figures_and_settings_are_listed(ctl: Ctl) -> None:
    rows = ctl("series", "connections", "--step", "1", "--count", "5", "--json").objects
    assert len(rows) == 5
    assert {later["ts"] - earlier["ts"] for earlier, later in pairwise(rows)} == {1000}
    assert ctl("series", "connections").out.startswith("TIME ")
    changed = ctl("config", "--changed", "--json").objects
    limits = {each["key"]: each for each in changed if each["section"] == "limits"}
    assert limits["registrations_per_minute"]["value"] == 0
    assert limits["registrations_per_minute"]["source"] == "PUSH_LIMITS_REGISTRATIONS_PER_MINUTE"
    assert all(each["section"] == "http" for each in ctl("config", "http", "--json").objects)
    wrong = ctl("config", "nothing")
    assert (wrong.status, wrong.err.count("\n")) == (2, 1)
