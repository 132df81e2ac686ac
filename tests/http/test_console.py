"""The console as a browser loads it: complete, with tags, from here alone; what a key may do."""

from __future__ import annotations

import hashlib
import json
import re
from base64 import b64encode
from pathlib import Path
from typing import Any

import pytest

from tests.http.conftest import KEYS

WEB = Path(__file__).parents[2] / "push" / "web" / "console"
FILES = sorted(
    str(path.relative_to(WEB))
    for path in WEB.rglob("*")
    if path.suffix in (".js", ".css", ".json", ".svg", ".txt")
)
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)


def test_the_console_is_where_the_api_is(make_web: Any, make_only_common: Any) -> None:
    for web, has_console in ((make_web("api"), True), (make_web("sub"), False)):
        page = web.request("GET", "/", key=None)
        assert page.status == 200
        assert (b"/console/main.js" in page.content) == has_console
        assert (web.request("GET", "/console/main.js", key=None).status == 200) == has_console
    assert b"/console/main.js" not in make_only_common().request("GET", "/", key=None).content


def test_the_page_has_links_for_a_browser_without_javascript(web: Any) -> None:
    page = web.request("GET", "/", key=None).content.decode()
    assert "{" not in page
    links = re.findall(r'<a href="(.+?)">', page)
    assert {"/docs", "/openapi.json", "/errors", "/push.js", "/metrics"} <= set(links)
    assert "/demo" not in links
    for link in links:
        assert web.request("GET", link, ip="127.0.0.1").status == 200, link


@pytest.mark.parametrize("name", ["", *FILES])
def test_every_file_is_served_with_a_tag_and_a_strict_policy(web: Any, name: str) -> None:
    path = f"/console/{name}" if name else "/"
    response = web.request("GET", path, key=None)
    assert response.status == 200
    assert not name or response.content == (WEB / name).read_bytes()
    assert response.headers["content-security-policy"] == POLICY
    assert response.headers["x-content-type-options"] == "nosniff"
    assert response.headers["cache-control"] == "no-cache"
    same = {"If-None-Match": response.headers["etag"]}
    again = web.request("GET", path, key=None, headers=same)
    assert (again.status, again.content) == (304, b"")
    other = web.request("GET", path, key=None, headers={"If-None-Match": '"other"'})
    assert other.status == 200


@pytest.mark.parametrize(
    "path",
    [
        "/console/nope.js",
        "/console/index.html.js",
        "/console/lib/nope.js",
        "/console/web/push.js",
        "/console/vendor/preact.d.ts",
        "/console/..%2fpush.js",
        "/console/lib/..",
        "/console/lib/",
        "/console/",
    ],
)
def test_nothing_else_is_served(web: Any, path: str) -> None:
    assert web.request("GET", path, key=None).status in (404, 422)


def test_what_the_page_loads_is_there() -> None:
    page = (WEB / "index.html").read_text()
    loaded = set(re.findall(r'(?:src|href)="/console/(.+?)"', page))
    assert loaded <= set(FILES)
    assert not re.search(r"https?:|<style|style=|\son\w+=", page)
    for name in FILES:
        if name.endswith(".js") and not name.startswith("vendor/"):
            code = (WEB / name).read_text()
            for module in re.findall(r'(?:from|import\()\s*"(\.{1,2}/.+?)"', code):
                found = (WEB / name).parent.joinpath(module).resolve()
                assert str(found.relative_to(WEB)) in FILES, (name, module)


def test_vendored_files_are_those_of_the_pinned_packages() -> None:
    """`node .ci/vendor.mjs` makes them from the packages, and checks the sums of those."""
    sources = json.loads((WEB / "vendor" / "sources.json").read_text())
    pinned = {name: each for source in sources for name, each in source["files"].items()}
    present = {path.name for path in (WEB / "vendor").iterdir()}
    assert present == {*pinned, "sources.json", "preact.d.ts", "uplot.d.ts"}
    for name, each in pinned.items():
        digest = hashlib.sha512((WEB / "vendor" / name).read_bytes()).digest()
        assert each["integrity"] == f"sha512-{b64encode(digest).decode()}", name
    for source in sources:
        assert any(name.endswith(".license.txt") for name in source["files"])
        assert re.fullmatch(r"sha512-[A-Za-z0-9+/]{86}==", source["integrity"])


def test_a_key_is_told_what_it_may_do(web: Any) -> None:
    answer = web.request("GET", "/v1/whoami")
    assert answer.status == 200
    assert set(answer.json()) == {"name", "scopes"}
    assert answer.json()["scopes"] == sorted(answer.json()["scopes"])
    web.request("GET", "/v1/whoami", key=None).assert_problem("unauthenticated")
    web.request("GET", "/v1/whoami", key="nonsense").assert_problem("unauthenticated")


@pytest.mark.parametrize("key", sorted(KEYS))
def test_any_key_may_ask(web: Any, key: str) -> None:
    answer = web.request("GET", "/v1/whoami", key=key).json()
    assert answer == {"name": key, "scopes": sorted(KEYS[key])}
