"""Asking other processes, over a real Redis."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import msgspec
import pytest
import pytest_twisted
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock

from push.cluster.seen_processes import KEPT_SECONDS, SeenProcesses
from push.cluster.survey import (
    ALL_CONNECTORS,
    ALL_PROCESSES,
    CHANNEL,
    Audience,
    Boots,
    Survey,
    SurveyHandler,
    SurveyQuestion,
    SurveyResult,
)
from push.redis.client import RedisClient
from push.redis.connection.errors import StoreUnavailable

Connect = Callable[..., Awaitable[RedisClient]]


class Crowd:
    """Connectors, each on connections of its own, and one that asks."""

    def __init__(self, connect: Connect, url: str) -> None:
        self._connect = connect
        self._url = url
        self.listed: dict[str, str] = {}
        self.others: dict[str, str] = {}  # processes that are no connectors
        self.survey_handlers: list[SurveyHandler] = []
        self.servers: list[RedisClient] = []
        self.asked: list[tuple[str, Any]] = []
        self.survey: Survey

    async def begin(self, deadline_seconds: float) -> None:
        from twisted.internet import reactor

        server = await self._connect(self._url)
        self.servers.append(server)
        self.survey = Survey(
            reactor,
            server,
            lambda: self.listed,
            "api",
            processes=lambda: self.listed | self.others,
            deadline_seconds=deadline_seconds,
        )

    async def add(
        self, name: str, answer: Any = None, *, listed: bool = True, is_connector: bool = True
    ) -> RedisClient:
        """A connector that answers with `answer`, or as that function says."""
        server = await self._connect(self._url)
        survey_handler = SurveyHandler(server, f"boot-{name}", name, is_connector=is_connector)

        async def handle(raw: bytes) -> Any:
            self.asked.append((name, json.loads(raw)))
            return await answer() if callable(answer) else answer

        survey_handler.handle("how", handle)
        self.survey_handlers.append(survey_handler)
        await survey_handler.start()
        if listed:
            (self.listed if is_connector else self.others)[f"boot-{name}"] = name
        return server

    async def ask(
        self, body: Any = None, audience: Audience = ALL_CONNECTORS, *, thorough: bool = False
    ) -> dict[str, Any]:
        asked: SurveyResult = await self.survey.ask("how", body, audience, thorough=thorough)
        return {
            "answers": {node: json.loads(raw) for node, raw in asked.answers},
            "silent": asked.silent,
        }


@pytest_twisted.async_yield_fixture
async def make_crowd(
    connect: Connect, redis_url: str
) -> AsyncIterator[Callable[..., Awaitable[Crowd]]]:
    """`await make_crowd()`: its deadline never comes in a test that passes."""
    crowds: list[Crowd] = []

    async def make(deadline_seconds: float = 8.0) -> Crowd:
        crowd = Crowd(connect, redis_url)
        crowds.append(crowd)
        await crowd.begin(deadline_seconds)
        return crowd

    yield make
    for crowd in crowds:
        crowd.survey.stop()
        for survey_handler in crowd.survey_handlers:
            survey_handler.stop()


@pytest_twisted.ensureDeferred
async def test_all_connectors_are_asked_and_answer(make_crowd: Any) -> None:
    crowd = await make_crowd()
    for name in ("n1", "n2", "n3"):
        await crowd.add(name, {"i am": name})
    answers = {name: {"i am": name} for name in ("n1", "n2", "n3")}
    assert await crowd.ask({"body": [1]}) == {"answers": answers, "silent": []}
    assert sorted(crowd.asked) == [(name, {"body": [1]}) for name in ("n1", "n2", "n3")]


@pytest_twisted.ensureDeferred
async def test_without_connectors_the_answer_is_empty_at_once(make_crowd: Any) -> None:
    crowd = await make_crowd()
    assert await crowd.ask() == {"answers": {}, "silent": []}


@pytest_twisted.ensureDeferred
async def test_every_process_is_asked_and_a_question_to_connectors_goes_to_no_other(
    make_crowd: Any,
) -> None:
    crowd = await make_crowd()
    await crowd.add("n1", 1)
    await crowd.add("api", 2, is_connector=False)
    await crowd.add("sub", 3, is_connector=False)
    everybody = {"answers": {"n1": 1, "api": 2, "sub": 3}, "silent": []}
    assert await crowd.ask(audience=ALL_PROCESSES, thorough=True) == everybody
    assert await crowd.ask() == {"answers": {"n1": 1}, "silent": []}


@pytest.mark.parametrize("audience", [ALL_CONNECTORS, ALL_PROCESSES, Boots(["boot-n1", "boot-n2"])])
@pytest_twisted.ensureDeferred
async def test_a_process_that_the_registry_has_forgotten_is_silent_while_it_subscribes(
    make_crowd: Any, audience: Audience
) -> None:
    """It was paused for longer than its lease; the others know it from before."""
    crowd = await make_crowd()
    await crowd.add("n1", 1)
    await crowd.add("n2", Deferred)  # it never answers
    crowd.survey.start()  # and looks who is there
    del crowd.listed["boot-n2"]
    assert await crowd.ask(audience=audience) == {"answers": {"n1": 1}, "silent": ["n2"]}
    # One that says goodbye, or is killed, subscribes no longer.
    crowd.survey_handlers[1].stop()
    left = {"answers": {"n1": 1}, "silent": []}
    while await crowd.ask(audience=audience) != left:
        pass  # until Redis has read it


@pytest_twisted.ensureDeferred
async def test_a_process_that_was_not_seen_for_minutes_is_forgotten() -> None:
    clock, listed = Clock(), {"boot": "n1"}
    seen = SeenProcesses(clock, lambda: listed)
    seen.look()
    assert seen.unlisted() == {}
    listed.clear()
    clock.advance(KEPT_SECONDS)
    assert seen.unlisted() == {"boot": "n1"}
    clock.advance(1)
    assert seen.unlisted() == {}


@pytest_twisted.ensureDeferred
async def test_a_question_to_boot_ids_goes_to_these_processes_alone(make_crowd: Any) -> None:
    crowd = await make_crowd()
    for name in ("n1", "n2", "n3"):
        await crowd.add(name, name)
    await crowd.add("api", "api", is_connector=False)
    assert await crowd.ask(1, Boots(["boot-n2"])) == {"answers": {"n2": "n2"}, "silent": []}
    some = Boots(["boot-n1", "boot-api"])
    assert await crowd.ask(2, some) == {"answers": {"n1": "n1", "api": "api"}, "silent": []}
    assert sorted(crowd.asked) == [("api", 2), ("n1", 2), ("n2", 1)]


@pytest_twisted.ensureDeferred
async def test_a_boot_id_that_nobody_has_is_not_missed(make_crowd: Any) -> None:
    """A process that is gone reads nothing any more."""
    crowd = await make_crowd()
    await crowd.add("n1", 1)
    for thorough in (False, True):
        found = await crowd.ask(None, Boots(["boot-n1", "boot-gone"]), thorough=thorough)
        assert found == {"answers": {"n1": 1}, "silent": []}
        assert await crowd.ask(None, Boots(["boot-gone"]), thorough=thorough) == {
            "answers": {},
            "silent": [],
        }
    assert await crowd.ask(None, Boots()) == {"answers": {}, "silent": []}


@pytest_twisted.ensureDeferred
async def test_a_boot_id_that_is_listed_and_does_not_answer_is_named(make_crowd: Any) -> None:
    crowd = await make_crowd(deadline_seconds=0.2)
    await crowd.add("n1", 1)
    crowd.listed["boot-n2"] = "n2"
    asked = await crowd.ask(None, Boots(["boot-n1", "boot-n2"]), thorough=True)
    assert asked == {"answers": {"n1": 1}, "silent": ["n2"]}


@pytest_twisted.ensureDeferred
async def test_a_thorough_question_waits_for_one_that_does_not_receive_until_the_deadline(
    make_crowd: Any,
) -> None:
    """Its subscription may be lost without its knowledge: its copies are fresh for a while."""
    from twisted.internet import reactor

    crowd = await make_crowd(deadline_seconds=0.5)
    await crowd.add("n1", 1)
    crowd.listed["boot-n2"] = "n2"
    began = reactor.seconds()  # type: ignore[attr-defined]
    assert await crowd.ask(thorough=True) == {"answers": {"n1": 1}, "silent": ["n2"]}
    assert reactor.seconds() - began >= 0.5  # type: ignore[attr-defined]


@pytest_twisted.ensureDeferred
async def test_a_thorough_question_waits_for_one_that_receives_and_is_not_listed(
    make_crowd: Any, wait_until: Any
) -> None:
    """It has just started, and is about to be listed."""
    crowd = await make_crowd()
    await crowd.add("n1", 1)
    later: Deferred[int] = Deferred()

    async def wait() -> Any:
        return await later

    await crowd.add("n2", wait, listed=False)
    asking = Deferred.fromCoroutine(crowd.ask("all", ALL_PROCESSES, thorough=True))
    await crowd.ask("how long", ALL_CONNECTORS)  # its own patience for such ends first
    assert not asking.called
    later.callback(2)
    assert await asking == {"answers": {"n1": 1, "n2": 2}, "silent": []}


@pytest_twisted.ensureDeferred
async def test_questions_at_the_same_time_get_their_own_answers(make_crowd: Any) -> None:
    from twisted.internet.defer import gatherResults

    crowd = await make_crowd()
    numbers = iter(range(100))

    async def count() -> int:
        return next(numbers)

    await crowd.add("n1", count)
    asked = [Deferred.fromCoroutine(crowd.ask()) for _ in range(20)]
    found = [result["answers"]["n1"] for result in await gatherResults(asked)]
    assert sorted(found) == list(range(20))


@pytest_twisted.ensureDeferred
async def test_a_connector_that_is_dead_is_named_without_waiting(make_crowd: Any) -> None:
    """It is listed still, but Redis knows that nobody hears for it."""
    crowd = await make_crowd()
    await crowd.add("n1", 1)
    crowd.listed["boot-n2"] = "n2"
    assert await crowd.ask() == {"answers": {"n1": 1}, "silent": ["n2"]}


@pytest_twisted.ensureDeferred
async def test_a_connector_that_does_not_answer_is_named_at_the_deadline(make_crowd: Any) -> None:
    crowd = await make_crowd(deadline_seconds=0.2)
    await crowd.add("n1", 1)
    never: Deferred[None] = Deferred()

    async def wait() -> Any:
        await never

    await crowd.add("n2", wait)
    assert await crowd.ask() == {"answers": {"n1": 1}, "silent": ["n2"]}
    never.callback(None)


@pytest_twisted.ensureDeferred
async def test_a_connector_that_nobody_lists_counts(make_crowd: Any) -> None:
    """It has just started."""
    crowd = await make_crowd()
    await crowd.add("n1", 1)
    await crowd.add("n2", 2, listed=False)
    assert await crowd.ask() == {"answers": {"n1": 1, "n2": 2}, "silent": []}


@pytest_twisted.ensureDeferred
async def test_one_that_nobody_lists_is_not_waited_for_to_the_deadline(make_crowd: Any) -> None:
    crowd = await make_crowd()
    await crowd.add("n1", 1)
    never: Deferred[None] = Deferred()

    async def wait() -> Any:
        await never

    await crowd.add("n2", wait, listed=False)
    assert await crowd.ask() == {"answers": {"n1": 1}, "silent": []}
    never.callback(None)


@pytest_twisted.ensureDeferred
async def test_a_handler_that_fails_makes_its_node_silent_and_is_logged(
    make_crowd: Any, flush_logged_errors: Any
) -> None:
    crowd = await make_crowd()
    await crowd.add("n1", 1)

    async def fail() -> Any:
        raise ValueError("no")

    await crowd.add("n2", fail)
    assert await crowd.ask() == {"answers": {"n1": 1}, "silent": ["n2"]}
    assert len(flush_logged_errors(ValueError)) == 1


@pytest_twisted.ensureDeferred
async def test_a_node_that_does_not_know_the_kind_is_silent(make_crowd: Any) -> None:
    crowd = await make_crowd()
    await crowd.add("n1", 1)
    assert await crowd.survey.ask("what", None) == SurveyResult([], ["n1"])
    assert crowd.asked == []


@pytest_twisted.ensureDeferred
async def test_a_question_that_comes_too_late_is_not_acted_on(
    make_crowd: Any, wait_until: Any
) -> None:
    """The process was paused: whoever asked was told that it is silent, and nothing happens."""
    crowd = await make_crowd()
    server = await crowd.add("n1", 1)
    await crowd.ask("in time")
    past = server.clock.now_us() - 1
    late = SurveyQuestion("id", "answers:api", "how", past, msgspec.Raw(b'"late"'))
    channel = server.channel(CHANNEL)
    assert await server.command("PUBLISH", channel, msgspec.json.encode(late)) == 1
    await crowd.ask("again")
    assert [body for _, body in crowd.asked] == ["in time", "again"]


@pytest_twisted.ensureDeferred
async def test_what_cannot_be_read_is_passed_over(make_crowd: Any, log_lines: list[str]) -> None:
    crowd = await make_crowd()
    server = await crowd.add("n1", 1)
    await crowd.ask()
    await server.command("PUBLISH", server.channel(CHANNEL), b"{")
    await server.command("PUBLISH", server.channel("answers:api"), b"[]")
    assert await crowd.ask() == {"answers": {"n1": 1}, "silent": []}
    assert sum("could not be read" in line for line in log_lines) == 2


@pytest_twisted.ensureDeferred
async def test_without_redis_it_is_unavailable(make_crowd: Any, redis_server: Any) -> None:
    crowd = await make_crowd()
    await crowd.add("n1", 1)
    redis_server.kill()
    with pytest.raises(StoreUnavailable):
        await crowd.ask()


@pytest_twisted.ensureDeferred
async def test_after_a_restart_of_redis_it_goes_on(
    make_crowd: Any, redis_server: Any, wait_until: Any, usable: Any
) -> None:
    crowd = await make_crowd()
    server = await crowd.add("n1", 1)
    redis_server.kill()
    await wait_until(lambda: server.problem is not None and crowd.servers[0].problem is not None)
    redis_server.start()
    await usable(server)
    await usable(crowd.servers[0])
    assert await crowd.ask() == {"answers": {"n1": 1}, "silent": []}


@pytest_twisted.ensureDeferred
async def test_a_stop_ends_what_is_being_asked(make_crowd: Any, wait_until: Any) -> None:
    crowd = await make_crowd()
    never: Deferred[None] = Deferred()

    async def wait() -> Any:
        await never

    await crowd.add("n1", wait)
    asking = Deferred.fromCoroutine(crowd.ask())
    await wait_until(lambda: crowd.asked)
    crowd.survey.stop()
    assert await asking == {"answers": {}, "silent": ["n1"]}
    never.callback(None)
