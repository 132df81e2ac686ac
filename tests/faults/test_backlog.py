"""A device that reads nothing while very much is pushed at it."""

from __future__ import annotations

from collections.abc import Callable

from tests.amounts import amount
from tests.faults.raw import RawDevice
from tests.faults.system import System

MESSAGES = amount(30_000, 100_000)
BATCH = 1_000
BATCHES_PER_PROBE = 5
MAX_GROWTH_BYTES = 500 * MESSAGES  # less than a message takes that is kept in the connector
MAX_BACKLOG = 10_000  # the default of [connector] max_backlog
# Nobody promises that the log is cut to the message.
MAX_BACKLOG_EXCESS = 1_000


def test_a_device_that_reads_nothing_costs_bounded_memory_and_delays_nobody(
    make_system: Callable[..., System], finish: Callable[..., None]
) -> None:
    """Messages wait in the log and not in the connector; later they come in order."""
    system = make_system()
    (connector,) = system.connectors
    pairs = system.register(5)
    deaf, others = pairs[0], pairs[1:]
    system.fleet(others)
    system.wait_connected(others)
    device = RawDevice(connector.device_port, receive_buffer_bytes=4096)
    device.connect(deaf)
    pusher = system.pusher()
    probes = [system.to(pair) for pair in others]
    assert all(attempt.accepted for attempt in pusher.batch(probes))
    system.wait_caught_up()
    before = most = connector.rss_bytes()
    for number in range(MESSAGES // BATCH):
        sent = pusher.batch([system.to(deaf)] * BATCH)
        assert all(attempt.accepted for attempt in sent)
        most = max(most, connector.rss_bytes())
        if number % BATCHES_PER_PROBE == 0:
            # The others get theirs before more is pushed.
            sent = pusher.batch(probes)
            for pair, attempt in zip(others, sent, strict=True):
                record = system.records[pair.token]
                system.wait(
                    lambda record=record, attempt=attempt: (
                        record.refresh() or attempt.id in record.ids
                    ),
                    f"{pair.token} is not delayed",
                )
    print(f"RSS of the connector: {before >> 20} MiB, at most {most >> 20} MiB")
    assert most - before < MAX_GROWTH_BYTES
    assert not system.disconnections(others)
    device.close()
    last = pusher.push(system.to(deaf))
    assert last.accepted
    system.fleet([deaf])
    record = system.records[deaf.token]
    system.wait(lambda: record.refresh() or last.id in record.ids, "it has the last message")
    assert MAX_BACKLOG <= len(record.ids) <= MAX_BACKLOG + MAX_BACKLOG_EXCESS
    dropped = MESSAGES + 1 - len(record.ids)
    oldest = next(a for a in system.journal.accepted if deaf.token in a.target.tokens)
    _, shown = system.api.get(f"/v1/messages/{oldest.id}", system.admin_key)
    assert shown["dropped"] == {"backlog": 1}
    finish(system, {deaf.token: dropped})
