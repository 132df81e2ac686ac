"""Where events may be sent: the guard against requests into the operator's own network."""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_twisted
from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.interfaces import IHostnameResolver
from twisted.internet.ssl import DefaultOpenSSLContextFactory
from zope.interface import implementer

from push.daemons.config.settings import Connector
from push.daemons.security.certificate import load_server_tls
from push.daemons.services.redis import load_trust_root
from push.webhooks.addresses import check_url, is_public
from push.webhooks.resolver import PublicHosts, PublicReactor
from push.webhooks.sender import EventSender
from push.wire.api.operate.webhooks import WebhookBody, WebhookChange
from push.wire.errors import RequestError
from tests.waiting import WaitUntil
from tests.webhooks.conftest import CountedSite, MakeReceiver, Receiver, World

# Forms that a resolver takes for an address which is not public.
PRIVATE_HOSTS = (
    "127.0.0.1",
    "127.0.0.1.",
    "localhost",
    "localhost.",
    "LOCALHOST",
    "a.localhost",
    "[::1]",
    "[::]",
    "0.0.0.0",
    "0",
    "2130706433",
    "0x7f000001",
    "0x7f.1",
    "127.1",
    "127.0.1",
    "0177.0.0.1",
    "017700000001",
    "10.1.2.3",
    "172.16.0.1",
    "192.168.1.1",
    "169.254.169.254",
    "0xa9fea9fe",
    "100.64.0.1",
    "192.0.0.1",
    "198.18.0.1",
    "203.0.113.9",
    "224.0.0.1",
    "240.0.0.1",
    "255.255.255.255",
    "[::ffff:127.0.0.1]",
    "[::ffff:7f00:1]",
    "[::ffff:10.0.0.1]",
    "[::127.0.0.1]",
    "[::ffff:169.254.169.254]",
    "[64:ff9b::7f00:1]",
    "[64:ff9b::10.0.0.1]",
    "[64:ff9b:1::1]",
    "[2002:7f00:1::]",
    "[2002:0a00:0001::1]",
    "[2001:0:4136:e378:8000:63bf:80ff:fffe]",
    "[fe80::1]",
    "[fe80::1%25eth0]",
    "[fc00::1]",
    "[fd12:3456::1]",
    "[fec0::1]",
    "[ff02::1]",
    "[2001:db8::1]",
    "[100::1]",
    "[100:0:0:1::1]",
    "[5f00::1]",
    "[3fff::1]",
    "[3fff:fff:ffff::1]",
    "[3ffe::1]",
    "[4000::1]",
    "[2620:4f:8000::1]",
    "[2001:1::1]",
    "[2001:2::1]",
    "[2001:20::1]",
    "192.0.0.8",
    "192.0.0.9",
    "192.0.0.10",
    "192.31.196.1",
    "192.52.193.1",
    "192.88.99.1",
    "192.175.48.1",
    "[::ffff:192.88.99.1]",
    "[64:ff9b::192.88.99.1]",
    "[2002:c058:6301::1]",
)
PUBLIC_HOSTS = ("8.8.8.8", "134744072", "[2606:4700:4700::1111]", "[::ffff:8.8.8.8]", "example.com")


@pytest.mark.parametrize("host", PRIVATE_HOSTS)
def test_a_host_that_is_private_is_refused_in_every_form(host: str) -> None:
    with pytest.raises(RequestError) as refused:
        check_url(f"https://{host}/hook", public=True)
    assert (refused.value.code, refused.value.field) == ("invalid", "url")


@pytest.mark.parametrize("host", PUBLIC_HOSTS)
def test_a_public_host_is_not(host: str) -> None:
    assert check_url(f"https://{host}:8443/hook?a=b", public=True)


@pytest.mark.parametrize(
    "url",
    [
        "",
        "https://",
        "https:///hook",
        "hook",
        "ftp://example.com/",
        "file:///etc/passwd",
        "gopher://example.com/",
        "http://example.com/",
        "https://user@example.com/",
        "https://user:secret@example.com/",
        "https://example.com/#part",
        "https://example.com:0/",
        "https://example.com:70000/",
        "https://example.com:x/",
        "https://exa mple.com/",
        "https://example.com/a b",
        "https://example.com/\r\nHost: x",
        "https://example.com/\tx",
        "https://127%2e0%2e0%2e1/",
        "https://①②⑦.0.0.1/",
        "https://127。0。0。1/",
        "https://example.com\\@127.0.0.1/",
        "https://[::1/",
        "https://[1::2::3]/",
        "https://..../",
        f"https://{'a' * 64}.example.com/",
        f"https://example.{'a' * 64}./",
        f"https://{'a.' * 126}bc/",
    ],
)
def test_what_is_no_url_of_an_endpoint_is_refused(url: str) -> None:
    with pytest.raises(RequestError) as refused:
        check_url(url, public=True)
    assert (refused.value.code, refused.value.field) == ("invalid", "url")


@pytest.mark.parametrize(
    "host",
    ["a" * 63 + ".example.com", "a." * 126 + "b", "a." * 126 + "b.", "xn--9.com", "xn--a-b.c", "-"],
)
def test_every_name_that_is_taken_is_one_that_the_resolver_can_take(host: str) -> None:
    assert check_url(f"https://{host}/", public=True)
    host.encode("idna")  # as `socket.getaddrinfo` does, or else it raises what nobody expects


def test_the_configuration_may_name_private_endpoints() -> None:
    for url in ("http://127.0.0.1:8000/", "http://[::1]/x", "https://10.0.0.1/", "http://hooks/"):
        assert check_url(url, public=False) == url


def test_the_refusal_repeats_little_of_what_was_sent() -> None:
    with pytest.raises(RequestError) as refused:
        check_url("https://" + "a" * 1500 + ".localhost/", public=True)
    assert len(refused.value.detail) < 300


@pytest_twisted.ensureDeferred
@pytest.mark.parametrize("host", PRIVATE_HOSTS)
async def test_no_connection_is_made_to_an_address_that_is_private(
    host: str, receiver: Receiver
) -> None:
    """Even if it was not refused before: the resolver does not give such an address."""
    from twisted.internet import reactor

    sender = EventSender(reactor, 10.0, 2, lambda: 0.0)  # type: ignore[arg-type]
    url = f"http://{host}:{receiver.number}/hook"
    answer = await sender.send(url, {}, b"{}", public=True)
    assert answer.status is None
    assert answer.error
    assert receiver.received == []
    await sender.stop()


@pytest_twisted.ensureDeferred
async def test_the_same_endpoint_is_reached_where_it_may_be_private(receiver: Receiver) -> None:
    from twisted.internet import reactor

    sender = EventSender(reactor, 10.0, 2, lambda: 0.0)  # type: ignore[arg-type]
    answer = await sender.send(receiver.url, {}, b"{}", public=False)
    assert answer.status == 204
    await sender.stop()


@implementer(IHostnameResolver)
class Names:
    """Resolves names as a test says, one answer after the other."""

    def __init__(self, *answers: list[str]) -> None:
        self.answers = list(answers)

    def resolveHostName(self, receiver: Any, name: str, **options: Any) -> Any:
        receiver.resolutionBegan(None)
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        for host in answer:
            kind = IPv6Address if ":" in host else IPv4Address
            receiver.addressResolved(kind("TCP", host, options.get("portNumber", 0)))
        receiver.resolutionComplete()


class Named:
    """The reactor, with another resolver; `dialed` are the hosts that were connected to."""

    def __init__(self, reactor: Any, names: Names) -> None:
        self._reactor = reactor
        self.nameResolver = names
        self.dialed: list[str] = []

    def connectTCP(self, host: str, port: int, factory: Any, **options: Any) -> Any:
        self.dialed.append(host)
        return self._reactor.connectTCP("127.0.0.1", port, factory, **options)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._reactor, name)


@pytest_twisted.ensureDeferred
async def test_a_name_that_resolves_inside_is_refused_and_the_reason_is_said(
    receiver: Receiver,
) -> None:
    from twisted.internet import reactor

    named = Named(reactor, Names(["10.0.0.7", "::1"]))
    sender = EventSender(named, 10.0, 2, lambda: 0.0)  # type: ignore[arg-type]
    url = f"http://hooks.example:{receiver.number}/hook"
    answer = await sender.send(url, {}, b"{}", public=True)
    assert answer.error == "hooks.example is at ::1, which is not a public address"
    assert named.dialed == []
    await sender.stop()


@pytest_twisted.ensureDeferred
async def test_a_name_that_changes_its_address_leads_nowhere_else(receiver: Receiver) -> None:
    """What was judged is what is connected to: there is no second look-up."""
    from twisted.internet import reactor

    named = Named(reactor, Names(["8.8.8.8", "127.0.0.1"], ["127.0.0.1"]))
    sender = EventSender(named, 10.0, 2, lambda: 0.0)  # type: ignore[arg-type]
    url = f"http://hooks.example:{receiver.number}/hook"
    assert (await sender.send(url, {}, b"{}", public=True)).status == 204
    assert named.dialed == ["8.8.8.8"]
    await sender.stop()
    answer = await sender.send(url, {}, b"{}", public=True)
    assert answer.status is None
    assert named.dialed == ["8.8.8.8"]
    await sender.stop()


@pytest_twisted.ensureDeferred
async def test_redirects_are_not_followed(make_receiver: MakeReceiver, receiver: Receiver) -> None:
    from twisted.internet import reactor

    other = make_receiver()
    sender = EventSender(reactor, 10.0, 2, lambda: 0.0)  # type: ignore[arg-type]
    for status in (301, 302, 303, 307, 308):
        receiver.answer = (status, {"Location": other.url})
        answer = await sender.send(receiver.url, {}, b"{}", public=False)
        assert answer.status == status
        assert not answer.is_success
    assert other.received == []
    await sender.stop()


@pytest_twisted.ensureDeferred
async def test_an_endpoint_whose_name_is_known_to_lead_inside_cannot_be_made() -> None:
    from twisted.internet import reactor

    inside = PublicHosts(Named(reactor, Names(["10.0.0.7"])))
    with pytest.raises(RequestError, match="not at a public address"):
        await inside.check("https://hooks.example/")
    await PublicHosts(Named(reactor, Names(["8.8.8.8"]))).check("https://hooks.example/")
    await PublicHosts(Named(reactor, Names([]))).check("https://hooks.example/")


@pytest_twisted.ensureDeferred
async def test_made_endpoints_are_checked_when_they_are_made_and_when_they_change(
    world: World,
) -> None:
    types: Any = ["chat.message"]
    with pytest.raises(RequestError, match="public address"):
        await world.webhooks.create(WebhookBody("https://127.1/", types))
    made = await world.webhooks.create(WebhookBody("https://8.8.8.8/", types))
    with pytest.raises(RequestError, match="public address"):
        await world.webhooks.change(made.id, WebhookChange(url="https://[::ffff:10.0.0.1]/"))
    assert (await world.webhooks.get(made.id)).url == "https://8.8.8.8/"


def test_every_address_of_the_list_is_one_that_getaddrinfo_would_reach() -> None:
    """The list is not of texts that mean nothing."""
    found = 0
    for host in PRIVATE_HOSTS:
        try:
            infos = socket.getaddrinfo(host.strip("[]").replace("%25eth0", ""), 80)
        except socket.gaierror:
            continue
        found += 1
        assert not any(is_public(str(info[4][0])) for info in infos)
    assert found > 35


def test_the_guarded_reactor_is_one_for_twisted_clients() -> None:
    from twisted.internet import reactor
    from twisted.internet.interfaces import IReactorPluggableNameResolver

    assert IReactorPluggableNameResolver.providedBy(PublicReactor(reactor))


# TLS


@pytest_twisted.async_yield_fixture
async def https_url(
    receiver: Receiver, tmp_path: Path, wait_until: WaitUntil
) -> AsyncIterator[tuple[str, Any]]:
    """The receiver over TLS, as `localhost`, and what its certificate is verified by."""
    from twisted.internet import reactor

    made = load_server_tls(Connector(), tmp_path)
    context = DefaultOpenSSLContextFactory(str(tmp_path / "server.key"), str(made.certificate_path))
    site = CountedSite(receiver)
    port = reactor.listenSSL(0, site, context, interface="127.0.0.1")  # type: ignore[attr-defined]
    root = load_trust_root(str(made.certificate_path), "webhooks")
    yield f"https://localhost:{port.getHost().port}/hook", root
    await port.stopListening()
    await wait_until(lambda: not site.channels)


@pytest_twisted.ensureDeferred
async def test_an_endpoint_with_tls_is_reached_if_its_certificate_is_trusted(
    https_url: tuple[str, Any], receiver: Receiver
) -> None:
    from twisted.internet import reactor

    url, root = https_url
    for trusted, expected in ((root, 204), (None, None)):
        sender = EventSender(reactor, 10.0, 2, lambda: 0.0, trusted)  # type: ignore[arg-type]
        answer = await sender.send(url, {}, b"{}", public=False)
        assert answer.status == expected, answer
        assert bool(answer.error) == (expected is None)
        await sender.stop()
    assert len(receiver.received) == 1


@pytest_twisted.ensureDeferred
async def test_a_certificate_for_another_name_is_refused(
    https_url: tuple[str, Any], receiver: Receiver
) -> None:
    """The name of the URL is verified, not where it leads."""
    from twisted.internet import reactor

    url, root = https_url
    named = Named(reactor, Names(["8.8.8.8"]))
    sender = EventSender(named, 10.0, 2, lambda: 0.0, root)  # type: ignore[arg-type]
    answer = await sender.send(url.replace("localhost", "hooks.example"), {}, b"{}", public=False)
    assert answer.status is None
    assert named.dialed == ["8.8.8.8"]
    assert receiver.received == []
    await sender.stop()


@pytest_twisted.ensureDeferred
async def test_the_cas_of_the_configuration_are_for_its_own_endpoints_only(
    https_url: tuple[str, Any], receiver: Receiver
) -> None:
    """A made endpoint is verified by what the system trusts."""
    from twisted.internet import reactor

    url, root = https_url
    named = Named(reactor, Names(["8.8.8.8"]))
    sender = EventSender(named, 10.0, 2, lambda: 0.0, root)  # type: ignore[arg-type]
    assert (await sender.send(url, {}, b"{}", public=False)).status == 204
    answer = await sender.send(url, {}, b"{}", public=True)
    assert answer.status is None
    assert "certificate verify failed" in answer.error
    assert len(receiver.received) == 1
    await sender.stop()
