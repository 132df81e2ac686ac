"""Draining a node: what is asked, passed on and refused."""

from __future__ import annotations

from typing import Any

import pytest


@pytest.mark.parametrize(("body", "rate"), [({}, 0), ({"rate": 20}, 20), ({"rate": None}, 0)])
def test_a_drain_is_passed_on_with_its_rate(web: Any, body: Any, rate: int) -> None:
    response = web.request("POST", "/v1/nodes/gate-1/drain", body)
    assert response.status == 202
    assert response.json() == {"node": "gate-1", "draining": True}
    assert web.behind.drained == [("gate-1", rate)]


def test_a_node_that_is_not_there_is_not_found(web: Any) -> None:
    web.request("POST", "/v1/nodes/nobody/drain", {}).assert_problem("not_found")


@pytest.mark.parametrize("rate", [10**30, 10**6 + 1, 0, -1, 1.5, "fast", True])
def test_a_rate_that_is_none_is_refused(web: Any, rate: Any) -> None:
    response = web.request("POST", "/v1/nodes/gate-1/drain", {"rate": rate})
    response.assert_problem("invalid", "rate")
    assert web.behind.drained == []


def test_a_drain_needs_the_scope_admin(web: Any) -> None:
    path = "/v1/nodes/gate-1/drain"
    assert web.request("POST", path, {}, key="push-key").status == 403
    assert web.request("POST", path, {}, key=None).status == 401
