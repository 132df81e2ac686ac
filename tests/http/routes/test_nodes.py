"""Nodes: listing them, and draining one."""

from __future__ import annotations

from typing import Any

import pytest
import pytest_twisted

from push.cluster.commands import DrainCommand
from tests.http.routes.conftest import API
from tests.waiting import WaitUntil

NODE = "gate-1"


@pytest_twisted.async_fixture
async def orders(boots: set[str], api: API) -> list[Any]:
    """What the connector NODE is told."""
    boots.add(NODE)
    told: list[Any] = []
    await api.node.domain.control.listen(NODE, told.append)
    return told


@pytest.mark.parametrize(("body", "rate"), [({}, 0), ({"rate": 20}, 20), ({"rate": None}, 0)])
@pytest_twisted.ensureDeferred
async def test_a_drain_is_passed_on_with_its_rate(
    api: API, orders: list[Any], wait_until: WaitUntil, body: Any, rate: int
) -> None:
    response = await api.request("POST", f"/v1/nodes/{NODE}/drain", body)
    assert response.status == 202
    assert response.json() == {"node": NODE, "draining": True}
    await wait_until(lambda: orders)
    assert orders == [DrainCommand(rate)]


@pytest_twisted.ensureDeferred
async def test_a_node_that_is_not_there_is_not_found(api: API) -> None:
    answer = await api.request("POST", "/v1/nodes/nobody/drain", {})
    answer.assert_problem("not_found")


@pytest.mark.parametrize("rate", [10**30, 10**6 + 1, 0, -1, 1.5, "fast", True])
@pytest_twisted.ensureDeferred
async def test_a_rate_that_is_none_is_refused(
    api: API, orders: list[Any], wait_until: WaitUntil, rate: Any
) -> None:
    response = await api.request("POST", f"/v1/nodes/{NODE}/drain", {"rate": rate})
    response.assert_problem("invalid", "rate")
    # Orders come in the order in which they were given: there was none before this one.
    await api.node.domain.control.drain(NODE, 7)
    await wait_until(lambda: orders)
    assert orders == [DrainCommand(7)]


@pytest_twisted.ensureDeferred
async def test_a_drain_needs_the_scope_admin(api: API) -> None:
    path = f"/v1/nodes/{NODE}/drain"
    assert (await api.request("POST", path, {}, key="push-key")).status == 403
    assert (await api.request("POST", path, {}, key=None)).status == 401
