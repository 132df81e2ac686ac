"""Redis does not answer, or does not answer in time; its connections are cut one by one."""

from __future__ import annotations

import http.client
import json
import time
from collections.abc import Callable

from tests.faults.pushing import AFTER_A_FAILURE_SECONDS, Steady, batches, singles
from tests.faults.system import System
from tests.waiting import DEADLINE_SECONDS

KIB = 1024


def test_a_paused_redis_refuses_writes_and_disconnects_nobody(
    make_system: Callable[..., System], finish: Callable[..., None]
) -> None:
    """SIGSTOP for longer than the time-out: 503 with Retry-After, never a false 202, and all goes
    on by itself afterwards."""
    system = make_system(connectors=2)
    pairs = system.register(8)
    system.bind("ann", pairs[:3])
    system.fleet(pairs[:4], system.connectors)
    system.fleet(pairs[4:], system.connectors[::-1])
    system.wait_connected(pairs)
    targets = system.mixed_targets(pairs)
    later = system.pusher("later")
    with (
        Steady(batches(system.pusher("batches"), targets, 40), 0.05),
        Steady(singles(system.pusher("singles"), targets), 0.01),
    ):
        system.wait_accepted(300)
        system.redis.pause()
        # Nobody who asks can be told: the time-out has passed on both connections.
        for daemon in system.daemons:
            system.wait(lambda daemon=daemon: not daemon.ready(), f"{daemon.name} is not ready")
        accepted = system.accepted()
        refused = [later.push(target) for target in targets]
        assert [attempt.status for attempt in refused] == [503] * len(refused)
        assert all(attempt.retry_after for attempt in refused)
        assert system.accepted() == accepted
        system.redis.resume()
        for daemon in system.daemons:
            system.wait(daemon.ready, f"{daemon.name} is ready")
        system.wait_accepted(300)
    assert not system.disconnections(pairs)
    assert later.push(system.everyone()).accepted
    finish(system)


def test_a_device_that_connects_while_redis_is_paused_is_served_afterwards(
    make_system: Callable[..., System], finish: Callable[..., None]
) -> None:
    """It is refused for now, tries again by itself, and has missed nothing."""
    system = make_system()
    pairs = system.register(4)
    pusher = system.pusher()
    assert all(a.accepted for a in pusher.batch([system.everyone()] * 100))
    system.redis.pause()
    system.fleet(pairs)
    for pair in pairs:
        record = system.records[pair.token]
        system.wait(
            lambda record=record: record.refresh() or record.count("waiting"),
            f"{pair.token} is sent away",
        )
    system.redis.resume()
    system.wait_connected(pairs)
    system.wait(system.api.ready, "the API is ready")
    assert all(a.accepted for a in pusher.batch([system.everyone()] * 100))
    finish(system)


def test_a_push_repeated_under_its_key_until_202_is_one_message(
    make_system: Callable[..., System], finish: Callable[..., None]
) -> None:
    """Whatever became of the tries that got 503 while Redis was paused, killed and started."""
    system = make_system()
    pairs = system.register(3)
    system.fleet(pairs)
    system.wait_connected(pairs)
    pusher = system.pusher()
    step = keyed(system)
    with Steady(step, 0.01):
        system.wait_accepted(100)
        system.redis.pause()
        system.wait(lambda: not system.api.ready(), "the API is not ready")
        system.redis.resume()
        system.wait_accepted(100)
        system.redis.kill()
        system.wait(lambda: not system.api.ready(), "the API is not ready")
        system.redis.start()
        system.wait_accepted(100)
    assert pusher.push(system.everyone()).accepted
    # Every push was repeated until 202: the audit then allows one id for each, and no other.
    assert not system.journal.unknown
    finish(system)


def keyed(system: System) -> Callable[[], list]:
    """A step that pushes one message under a key, again and again until it is accepted."""

    def step() -> list:
        (attempt,) = system.journal.begin("keyed", [system.everyone()], may_expire=False)
        body = {"to": attempt.target.to, "data": {"n": attempt.n}}
        while (answer := push_with_key(system, body)) is None:
            time.sleep(AFTER_A_FAILURE_SECONDS)
        attempt.id, attempt.status = answer, 202
        return [attempt]

    return step


def push_with_key(system: System, body: dict) -> str | None:
    """The id, or None when it is not known what became of it."""
    connection = http.client.HTTPConnection(
        "127.0.0.1", system.api.http_port, timeout=DEADLINE_SECONDS
    )
    headers = {
        "Authorization": f"Bearer {system.admin_key}",
        "Content-Type": "application/json",
        "Idempotency-Key": f"n-{body['data']['n']}",
    }
    try:
        connection.request("POST", "/v1/push", json.dumps(body), headers)
        answer = connection.getresponse()
        said = json.loads(answer.read())
        # 409 `in_progress`: the first of these still runs.
        assert answer.status in (202, 409, 503), said
        return said["id"] if answer.status == 202 else None
    except (OSError, http.client.HTTPException):
        return None
    finally:
        connection.close()


def test_dropped_subscriptions_lose_nothing(
    make_system: Callable[..., System], finish: Callable[..., None]
) -> None:
    """CLIENT KILL TYPE pubsub, again and again: what the channels lost comes from the log."""
    system = make_system(connectors=2)
    pairs = system.register(8)
    system.bind("ann", pairs[:3])
    system.fleet(pairs[:4], system.connectors)
    system.fleet(pairs[4:], system.connectors[::-1])
    system.wait_connected(pairs)
    with Steady(batches(system.pusher(), system.mixed_targets(pairs), 40), 0.03):
        for _ in range(10):
            system.wait_accepted(120)
            assert system.redis.call("CLIENT", "KILL", "TYPE", "pubsub") == b":3\r\n"
            system.wait(lambda: system.redis.clients("pubsub") == 3, "all daemons hear again")
    pusher = system.pusher("last")
    for _ in range(10):
        system.redis.call("CLIENT", "KILL", "TYPE", "pubsub")
        # No connector hears it, and no later message shows that it is missing.
        assert pusher.push(system.everyone()).accepted
        system.wait_caught_up()
        system.wait(lambda: system.redis.clients("pubsub") == 3, "all daemons hear again")
    assert not system.disconnections(pairs)
    finish(system)


def test_killed_command_connections_lose_nothing(
    make_system: Callable[..., System], finish: Callable[..., None]
) -> None:
    """CLIENT KILL TYPE normal: a push whose answer was on its way is not known, and not lost."""
    system = make_system(connectors=2)
    pairs = system.register(8)
    system.bind("ann", pairs[:3])
    system.fleet(pairs[:4], system.connectors)
    system.fleet(pairs[4:], system.connectors[::-1])
    system.wait_connected(pairs)
    targets = system.mixed_targets(pairs)
    with (
        Steady(batches(system.pusher("batches"), targets, 40), 0.03),
        Steady(singles(system.pusher("singles"), targets), 0.01),
    ):
        for _ in range(10):
            system.wait_accepted(100)
            assert system.redis.call("CLIENT", "KILL", "TYPE", "normal") == b":3\r\n"
            system.wait(lambda: system.redis.clients("normal") == 3, "all daemons are back")
    assert not system.disconnections(pairs)
    finish(system)


def test_a_subscriber_that_redis_cuts_off_for_being_slow_repairs_what_it_lost(
    make_system: Callable[..., System], finish: Callable[..., None]
) -> None:
    """The output buffer of pub/sub overflows while the connector stands still (SIGSTOP)."""
    system = make_system(connectors=2)
    pairs = system.register(6)
    slow, other = system.connectors
    at_slow, at_other = pairs[:3], pairs[3:]
    system.fleet(at_slow, [slow])
    system.fleet(at_other, [other])
    system.wait_connected(pairs)
    limit = f"pubsub {KIB * KIB} {KIB * KIB} 0"
    assert system.redis.call("CONFIG", "SET", "client-output-buffer-limit", limit) == b"+OK\r\n"
    pusher = system.pusher()
    targets = [system.everyone(), system.to(at_slow[0])]
    slow.pause()
    for _ in range(6):
        # 40 messages of 60 KiB: more than the limit and the socket's buffer together.
        assert all(a.accepted for a in pusher.batch(targets * 20, pad_bytes=60 * KIB))
    log = system.redis.log
    system.wait(lambda: "overcoming of output buffer limits" in log.read_text(), "it is cut off")
    slow.resume()
    system.wait(slow.ready, "the connector has Redis again")
    assert all(a.accepted for a in pusher.batch(targets * 20))
    system.wait_caught_up()
    assert not system.disconnections(pairs)
    finish(system)
