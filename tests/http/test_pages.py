"""Pages for people: they are there, complete in themselves, and their links lead somewhere."""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable
from html import unescape
from html.parser import HTMLParser
from typing import Any

import pytest
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock

from push.http.framework.problems import ERRORS
from push.http.framework.route import Response
from push.http.system_routes import Documents, PageRoutes

VOID = {"meta", "br", "wbr"}


class Page(HTMLParser):
    """Fails on tags that do not match; collects links and ids."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.links: set[str] = set()
        self.ids: list[str] = []
        self.text = ""
        self._open: list[str] = []
        self.feed(html)
        assert self._open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert tag not in ("script", "img", "link", "iframe"), f"{tag} in a page"
        values = {name: value or "" for name, value in attrs}
        assert not any(name.startswith("on") for name in values)
        if "href" in values:
            self.links.add(values["href"])
        if "id" in values:
            self.ids.append(values["id"])
        if tag not in VOID:
            self._open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data


def open_page(web: Any, path: str) -> Page:
    response = web.request("GET", path, key=None)
    assert response.status == 200
    assert response.headers["content-type"] == "text/html; charset=utf-8"
    assert response.headers["x-content-type-options"] == "nosniff"
    assert response.headers["content-security-policy"].startswith("default-src 'none'")
    return Page(response.content.decode())


@pytest.mark.parametrize("path", ["/", "/docs", "/errors", "/errors/invalid"])
def test_every_link_leads_somewhere(make_web: Any, path: str) -> None:
    web = make_web("sub")  # a daemon without the console, which is a page of another kind
    page = open_page(web, path)
    assert len(set(page.ids)) == len(page.ids)
    for link in page.links:
        if link.startswith("#"):
            assert link[1:] in page.ids
        else:
            assert web.request("GET", link, ip="127.0.0.1").status == 200, link


@pytest.mark.parametrize("code", sorted(ERRORS))
def test_each_code_has_a_page(web: Any, code: str) -> None:
    page = open_page(web, f"/errors/{code}")
    assert code in page.text
    assert ERRORS[code].title in page.text


def test_a_code_that_does_not_exist_has_none(web: Any) -> None:
    web.request("GET", "/errors/nope").assert_problem("not_found")
    problem = web.request("GET", "/errors/%3Cscript%3E").assert_problem("invalid", "code")
    assert "script" not in problem["detail"]


def test_the_documentation_shows_every_operation(web: Any) -> None:
    page = open_page(web, "/docs")
    for path in web.request("GET", "/openapi.json").json()["paths"]:
        assert path in page.text
    assert "None" not in page.text


def test_the_documentation_of_a_daemon_is_its_own(make_web: Any) -> None:
    assert "/v1/push" not in open_page(make_web("sub"), "/docs").text
    assert "/v1/servers" not in open_page(make_web("api"), "/docs").text


def test_the_index_tells_what_is_served(make_web: Any) -> None:
    text = open_page(make_web("sub"), "/").text
    assert "push-sub" in text
    assert not re.search("push-api", text)


# --- the address in the examples -----------------------------------------------------------------


def shown_addresses(web: Any, **options: Any) -> set[str]:
    response = web.request("GET", "/docs", key=None, **options)
    return {url.removesuffix("/v1/push") for url in curl_urls(response) if url.endswith("/v1/push")}


def curl_urls(response: Any) -> list[str]:
    """Of all commands of a page, as a shell reads them."""
    examples = re.findall(r"<pre><code>(curl .*?)</code>", response.content.decode(), re.DOTALL)
    return [shlex.split(unescape(example))[3] for example in examples]


@pytest.mark.parametrize("host", ["push.example:8443", "127.0.0.1:8082", "[::1]:8083", "push"])
def test_examples_have_the_address_that_the_page_was_asked_at(web: Any, host: str) -> None:
    assert shown_addresses(web, headers={"Host": host}) == {f"http://{host}"}


def test_the_page_of_one_client_is_not_that_of_another(web: Any) -> None:
    for host in ("one", "two", "one"):
        assert shown_addresses(web, headers={"Host": host}) == {f"http://{host}"}


def test_a_host_that_a_shell_would_run_stays_in_its_quotes(web: Any) -> None:
    host = "a';$(touch$IFS!x);'"
    assert shown_addresses(web, headers={"Host": host}) == {f"http://{host}"}


def test_tls_ends_at_a_trusted_proxy(make_web: Any) -> None:
    web = make_web(trusted_proxies=("10.0.0.1",))
    headers = {"Host": "push.example", "X-Forwarded-Proto": "https"}
    assert shown_addresses(web, headers=headers, ip="10.0.0.1") == {"https://push.example"}
    assert shown_addresses(web, headers=headers, ip="192.0.2.7") == {"http://push.example"}


def test_without_a_host_it_is_the_address_of_the_socket(web: Any) -> None:
    connection = web.connect()
    connection.send(b"GET /docs HTTP/1.0\r\n\r\n")
    (response,) = connection.responses()
    assert "http://10.0.0.1:12345/v1/push" in curl_urls(response)


def test_every_daemon_shows_its_address(make_web: Any) -> None:
    """Also those that serve no push: their examples are of other routes."""
    response = make_web("sub").request("GET", "/docs", headers={"Host": "sub.example:8081"})
    assert {url.partition("/v1/")[0] for url in curl_urls(response)} == {"http://sub.example:8081"}


def test_what_takes_long_to_make_is_made_once_and_in_a_thread() -> None:
    """Else a stranger could stop everybody for that time; and also if all who have asked for it
    meanwhile were answered in one turn, each from within the answer to the one before."""
    asked_for: list[tuple[Callable[[], Documents], Deferred[Documents]]] = []

    def in_thread(make: Callable[[], Documents]) -> Deferred[Documents]:
        made: Deferred[Documents] = Deferred()
        asked_for.append((make, made))
        return made

    clock = Clock()
    routes = PageRoutes(clock, "push", "1", [], None, in_thread)
    answers: list[Response] = []
    request: Any = None  # it asks for nothing
    for _ in range(1000):
        Deferred.fromCoroutine(routes.openapi(request)).addCallback(answers.append)
    assert answers == []
    ((make, made),) = asked_for
    made.callback(make())
    for answered in range(1, 1000):
        assert len(answers) == answered
        (call,) = clock.getDelayedCalls()  # of the next turn
        clock.calls.remove(call)
        call.func(*call.args, **call.kw)
    assert [answer.body for answer in answers] == [make().openapi] * 1000
    assert len(asked_for) == 1
