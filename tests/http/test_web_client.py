"""`/push.js` and its modules: what is shipped, asked for again only when it changed."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from push.http.web_client import MODULES

WEB = Path(__file__).parents[2] / "push" / "web"


@pytest.mark.parametrize("name", MODULES)
def test_a_module_is_served_by_every_daemon_without_a_key(
    web: Any, make_only_common: Any, name: str
) -> None:
    for daemon in (web, make_only_common()):
        response = daemon.request("GET", f"/{name}", key=None)
        assert response.status == 200
        assert response.content == (WEB / name).read_bytes()
        assert response.headers["content-type"] == "text/javascript; charset=utf-8"
        assert response.headers["x-content-type-options"] == "nosniff"
        assert response.headers["cache-control"] == "no-cache"


def test_every_module_that_the_client_imports_is_served() -> None:
    imported = {
        name
        for module in MODULES
        for name in re.findall(r'^import .* from "\./(.+?)";$', (WEB / module).read_text(), re.M)
    }
    assert imported == {*MODULES} - {"push.js"}


@pytest.mark.parametrize(
    "tags", ["{}", "W/{}", '"other", {}', '"other",W/{}', "*"], ids=lambda tags: tags.format("T")
)
def test_a_copy_that_is_still_right_is_not_sent_again(web: Any, tags: str) -> None:
    etag = web.request("GET", "/push.js").headers["etag"]
    response = web.request("GET", "/push.js", headers={"If-None-Match": tags.format(etag)})
    assert (response.status, response.content) == (304, b"")
    assert response.headers["etag"] == etag
    assert "content-type" not in response.headers


@pytest.mark.parametrize("tags", ["", '"other"', "nonsense", "{}x", '"*"'])
def test_another_copy_is_replaced(web: Any, tags: str) -> None:
    etag = web.request("GET", "/push.js").headers["etag"]
    response = web.request("GET", "/push.js", headers={"If-None-Match": tags.format(etag)})
    assert response.status == 200


def test_modules_have_tags_of_their_own(web: Any) -> None:
    assert len({web.request("GET", f"/{name}").headers["etag"] for name in MODULES}) == len(MODULES)


def test_nothing_else_of_the_folder_is_served(web: Any) -> None:
    for name in ("push.d.ts", "package.json", "push-other.js", "push.js/"):
        assert web.request("GET", f"/{name}").status == 404
