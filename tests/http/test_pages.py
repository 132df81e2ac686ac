"""Pages for people: they are there, complete in themselves, and their links lead somewhere."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from typing import Any

import pytest

from push.http.framework.problems import ERRORS

VOID = {"meta", "br"}


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
def test_every_link_leads_somewhere(web: Any, path: str) -> None:
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
