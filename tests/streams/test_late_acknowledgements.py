"""An acknowledgement that comes after a message was given up replaces that in the ledger."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import pytest
import pytest_twisted

from push.redis.connection.errors import StoreUnavailable
from push.session.subscription import UNACKNOWLEDGED, LateAcknowledgement, Subscription
from push.streams.publisher import Published

KINDS = pytest.mark.parametrize("stream", ["all", "dev:t", "user:u"])

GIVEN_UP = {"unacknowledged": 1}


class Case:
    """A message that was handed out to one device and given up."""

    def __init__(self, desk: Any, phone: Any, stream: str, sent: Published) -> None:
        self.desk = desk
        self.phone = phone
        self.stream = stream
        self.sent = sent
        [(self.number, self.delivery)] = phone.window.outstanding.items()

    def give_up(self) -> None:
        assert self.phone.window.finish(self.delivery, 1.0, UNACKNOWLEDGED)
        self.desk.writer.moved(self.phone, self.phone.subscriptions[self.stream])

    def acknowledge(self) -> None:
        late = self.phone.window.acknowledge(self.number, 2.0)
        assert late == LateAcknowledgement(self.delivery, UNACKNOWLEDGED)
        self.desk.writer.late(self.phone, late)

    async def counts(self) -> tuple[int, int, dict[str, int]]:
        """Written, acknowledged, dropped."""
        funnel = await self.desk.funnel(self.sent.id)
        dropped = {reason: count for reason, count in funnel.dropped.items() if count}
        return funnel.written, funnel.acknowledged, dropped


@pytest.fixture
def make_case(desk: Any) -> Callable[[str], Awaitable[Case]]:
    async def make(stream: str) -> Case:
        phone = await desk.phone("t", user="u")
        sent = await desk.push(stream)
        await desk.hand_out(stream, phone)
        return Case(desk, phone, stream, sent)

    return make


MakeCase = Callable[[str], Awaitable[Case]]


@KINDS
@pytest_twisted.ensureDeferred
async def test_it_replaces_what_is_stored(make_case: MakeCase, stream: str) -> None:
    case = await make_case(stream)
    case.give_up()
    assert await case.counts() == (1, 0, GIVEN_UP)
    case.acknowledge()
    assert await case.counts() == (1, 1, {})


@KINDS
@pytest_twisted.ensureDeferred
async def test_it_may_leave_with_what_it_replaces(make_case: MakeCase, stream: str) -> None:
    case = await make_case(stream)
    case.give_up()
    case.acknowledge()
    assert await case.counts() == (1, 1, {})


@KINDS
@pytest_twisted.ensureDeferred
async def test_other_devices_keep_their_own_end(
    desk: Any, make_case: MakeCase, stream: str
) -> None:
    """Of a message to one device there are no others."""
    case = await make_case(stream)
    other = await desk.phone("o", user="u")
    more = await desk.push(stream)
    await desk.hand_out(stream, case.phone, *([other] if stream != "dev:t" else []))
    case.give_up()
    for phone in (case.phone, other):
        for delivery in list(phone.window.outstanding.values()):
            if delivery.id == more.id:
                phone.window.finish(delivery, 1.0, UNACKNOWLEDGED)
                desk.writer.moved(phone, phone.subscriptions[stream])
    case.acknowledge()
    assert await case.counts() == (1, 1, {})
    funnel = await desk.funnel(more.id)
    assert funnel.acknowledged == 0
    assert funnel.dropped == {"unacknowledged": 1 if stream == "dev:t" else 2}


@KINDS
@pytest.mark.parametrize("stored", [True, False])
@pytest_twisted.ensureDeferred
async def test_it_does_so_after_the_message_has_left_the_log(
    desk: Any, make_case: MakeCase, stream: str, stored: bool
) -> None:
    """It is cancelled, before or after that it was given up has come to the store."""
    case = await make_case(stream)
    case.give_up()
    if stored:
        await desk.writer.flush()
    await desk.cancel(case.sent.id, stream)
    await desk.writer.flush()
    case.acknowledge()
    funnel = await desk.funnel(case.sent.id)
    assert (funnel.acknowledged, funnel.cancelled) == (1, 0)
    assert not funnel.dropped.get("unacknowledged")


@KINDS
@pytest.mark.parametrize("took_effect", [True, False])
@pytest_twisted.ensureDeferred
async def test_it_comes_while_nobody_knows_whether_that_is_stored(
    desk: Any,
    make_case: MakeCase,
    stream: str,
    took_effect: bool,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    case = await make_case(stream)
    case.give_up()
    run = desk.store.run

    async def lose(*arguments: Any, **options: Any) -> Any:
        if took_effect:
            await run(*arguments, **options)
        case.acknowledge()
        raise StoreUnavailable("the answer was lost", unknown=True)

    with monkeypatch.context() as patch:
        patch.setattr(desk.store, "run", lose)
        await desk.writer.flush()
    assert await case.counts() == (1, 1, {})


@KINDS
@pytest.mark.parametrize("took_effect", [True, False])
@pytest.mark.parametrize("together", [True, False])
@pytest_twisted.ensureDeferred
async def test_when_nobody_knows_whether_itself_is_stored_the_device_counts_once(
    desk: Any,
    make_case: MakeCase,
    stream: str,
    took_effect: bool,
    together: bool,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A line takes it again. With counters that might count it twice: what was before may stay."""
    case = await make_case(stream)
    case.give_up()
    if not together:
        await desk.writer.flush()
    case.acknowledge()
    run = desk.store.run

    async def lose(*arguments: Any, **options: Any) -> Any:
        if took_effect:
            await run(*arguments, **options)
        raise StoreUnavailable("the answer was lost", unknown=True)

    with monkeypatch.context() as patch:
        patch.setattr(desk.store, "run", lose)
        await desk.writer.flush()
    counted = stream != "all" or took_effect
    assert await case.counts() == (1, 1, {}) if counted else (1, 0, GIVEN_UP)


@KINDS
@pytest_twisted.ensureDeferred
async def test_of_a_session_that_was_taken_over_a_line_takes_it(
    desk: Any, make_case: MakeCase, stream: str
) -> None:
    """With counters nobody knows whether the later session has counted it, too."""
    case = await make_case(stream)
    case.give_up()
    await desk.writer.flush()
    await desk.store.command("HSET", desk.store.key("device:t"), "s", "another")
    case.acknowledge()
    assert await case.counts() == ((1, 0, GIVEN_UP) if stream == "all" else (1, 1, {}))


@pytest_twisted.ensureDeferred
async def test_one_that_is_read_again_and_acknowledged_counts_so(
    desk: Any, make_case: MakeCase
) -> None:
    """A client may go back behind the cursor; what it only gets again counts as before."""
    stream = "user:u"
    case = await make_case(stream)
    case.give_up()
    await desk.writer.flush()
    again = await desk.phone("t", user="u")
    again.subscriptions[stream] = Subscription(stream, 0)
    await desk.store.command(
        "HSET", desk.store.key("device:t"), f"c:{stream}", case.delivery.offset
    )
    await desk.hand_out(stream, again)
    assert await case.counts() == (1, 0, GIVEN_UP)
    desk.acknowledge(stream, again, case.sent.id)
    assert await case.counts() == (1, 1, {})
