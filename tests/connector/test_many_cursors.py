"""Cursors of a CONNECT for streams that the device does not follow."""

from __future__ import annotations

from typing import Any

import pytest
import pytest_twisted

from push.devices.session_opening import MANY_CURSORS
from tests.waiting import WaitUntil


@pytest.mark.parametrize("count", [MANY_CURSORS - 1, 2000])
@pytest_twisted.ensureDeferred
async def test_only_cursors_of_followed_streams_are_sent_to_redis(
    node: Any,
    dial: Any,
    wait_until: WaitUntil,
    monkeypatch: pytest.MonkeyPatch,
    count: int,
) -> None:
    """And these count, whatever else is with them."""
    device = await dial(node)
    pair = await device.register()
    await device.connect(**pair)
    await node.push("all", data="before")
    await wait_until(lambda: device.numbers == ["before"])
    device.transport.loseConnection()
    await node.push("all", data="after")
    run, arguments = node.store.run, []

    async def noted(*args: Any, **options: Any) -> Any:
        arguments.append(args[2])
        return await run(*args, **options)

    monkeypatch.setattr(node.store, "run", noted)
    others = {f"topic:none{number}": "1" for number in range(count)}
    again = await dial(node, acks=True)
    accepted = await again.connect(**pair, cursors={**others, "all": "9999999999999999"})

    assert accepted["session"]
    await node.push("all", data="later")
    await wait_until(lambda: again.numbers)
    assert again.numbers == ["later"], "the cursor that is ahead has acknowledged what there was"
    if count > MANY_CURSORS:  # as many as the first frame has room for
        assert max(map(len, arguments)) < 100
