"""Proxies of the environment: for HTTP calls only, never for this machine, never a traceback."""

from __future__ import annotations

import pytest
from device_server import DeviceServer, run
from http_server import Answer, HTTPServer

from push.sdk.aio import PushClient
from push.sdk.backend import AsyncPushAPI, PushAPI
from push.sdk.errors import ConfigurationError
from push.sdk.proxies import proxy_for

NAMES = ("http_proxy", "https_proxy", "all_proxy", "no_proxy")


@pytest.fixture
def environment(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    for name in NAMES:
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    return monkeypatch


@pytest.mark.parametrize(
    "host",
    [
        "localhost",
        "LOCALHOST.",
        "api.localhost",
        "127.0.0.1",
        "127.8.9.10",
        "127.1",
        "2130706433",
        "0x7f.1",
        "0.0.0.0",
        "[::1]",
        "[0:0::1]",
        "[::ffff:127.0.0.1]",
        "[::ffff:7f00:1]",
        "[::]",
    ],
)
@pytest.mark.parametrize("proxy", ["http://proxy:3128", "socks5://proxy:1080", "nonsense://", "]"])
def test_this_machine_is_never_asked_for_at_a_proxy(
    environment: pytest.MonkeyPatch, host: str, proxy: str
):
    for name in NAMES[:3]:
        environment.setenv(name.upper(), proxy)
    for scheme in ("http", "https"):
        assert proxy_for(f"{scheme}://{host}:8080/v1") is None
    PushAPI(f"http://{host}:8080").close()


@pytest.mark.parametrize(
    ("variables", "proxy"),
    [
        ({"HTTP_PROXY": "http://p:1"}, "http://p:1"),
        ({"http_proxy": "p:1"}, "http://p:1"),
        ({"HTTP_PROXY": "http://p:1", "http_proxy": "http://q:2"}, "http://q:2"),
        ({"ALL_PROXY": "https://p:1"}, "https://p:1"),
        ({"HTTPS_PROXY": "http://p:1"}, None),
        ({"HTTP_PROXY": ""}, None),
        ({}, None),
    ],
)
def test_the_usual_variables_name_the_proxy(
    environment: pytest.MonkeyPatch, variables: dict[str, str], proxy: str | None
):
    for name, value in variables.items():
        environment.setenv(name, value)
    assert proxy_for("http://push.example:8080") == proxy


@pytest.mark.parametrize(
    ("no_proxy", "url", "excepted"),
    [
        ("*", "http://push.example", True),
        ("example", "http://push.example", True),
        (".example", "http://push.example", True),
        ("*.example", "http://push.example", True),
        ("other, push.example", "http://push.example", True),
        ("PUSH.EXAMPLE", "http://push.example", True),
        ("ush.example", "http://push.example", False),
        ("push.example:8080", "http://push.example:8080", True),
        ("push.example:80", "http://push.example", True),
        ("push.example:81", "http://push.example", False),
        ("10.1.2.3", "http://10.1.2.3", True),
        ("10.0.0.0/8", "http://10.1.2.3:99", True),
        ("10.0.0.0/8", "http://11.1.2.3", False),
        ("fd00::1", "http://[fd00::1]:80", True),
        ("[fd00::1]", "http://[fd00:0::1]", True),
        ("[fd00::1]:80", "http://[fd00::1]", True),
        ("[fd00::1]:81", "http://[fd00::1]", False),
        ("::1,fd00::/8", "http://[fd12::3]", True),
        ("10.0.0.0/8", "http://[::ffff:10.1.2.3]", True),
        ("fe80::1%eth0", "http://[fe80::1]", True),
        ("[,[::,10.0.0.0/99,:,::::,/,push.example:x,http://push.example", "http://push.x", False),
        ("", "http://push.example", False),
    ],
)
def test_exceptions(environment: pytest.MonkeyPatch, no_proxy: str, url: str, excepted: bool):
    environment.setenv("HTTP_PROXY", "http://proxy:3128")
    environment.setenv("NO_PROXY", no_proxy)
    assert proxy_for(url) == (None if excepted else "http://proxy:3128")


WRONG = [
    "socks4://p:1",
    "ftp://p:1",
    "://",
    "http://",
    "http://[::1",
    "http://p:99999",
    "http://p:x",
    "http://p p:1",
    "http://p\u00e9:1",
    "]",
    "foo",
    "http://..:1",
    "http://a%20b:1",
    "http://p:0",
]


@pytest.mark.parametrize("value", WRONG)
def test_a_proxy_that_cannot_be_used_is_a_clear_error(environment: pytest.MonkeyPatch, value: str):
    environment.setenv("ALL_PROXY", value)
    for make in (
        lambda: PushAPI("http://push.example"),
        lambda: AsyncPushAPI("https://push.example"),
        lambda: PushClient(servers_url="https://push.example", key="k"),
    ):
        with pytest.raises(ConfigurationError, match="proxy"):
            make()


def test_socks_needs_its_package_and_says_so(environment: pytest.MonkeyPatch):
    environment.setenv("ALL_PROXY", "socks5://proxy:1080")
    with pytest.raises(ConfigurationError, match="socksio"):
        PushAPI("http://push.example")
    environment.setenv("NO_PROXY", "push.example")
    PushAPI("http://push.example").close()


def test_calls_go_through_the_proxy_and_loopback_does_not(environment: pytest.MonkeyPatch):
    with HTTPServer() as proxy, HTTPServer() as api_server:
        environment.setenv("HTTP_PROXY", proxy.url)
        proxy.answer(Answer(200, {"by": "proxy"}))
        api_server.answer(Answer(200, {"by": "itself"}))
        with PushAPI("http://push.example:8080") as api:
            assert api.stats() == {"by": "proxy"}
        with PushAPI(api_server.url) as api:
            assert api.stats() == {"by": "itself"}
        assert [request.path for request in proxy.requests] == ["http://push.example:8080/v1/stats"]


def test_a_devices_connection_takes_no_proxy(environment: pytest.MonkeyPatch):
    for name in NAMES[:3]:
        environment.setenv(name, "socks5://127.0.0.1:1")

    async def test() -> None:
        async with DeviceServer() as server:
            async with PushClient([server.url], token="T", secret="S") as client:
                peer = await server.accept()
                await peer.welcome()
                await client.wait_connected()
            await peer.gone()

    run(test())
