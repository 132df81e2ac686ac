"""What of a connector is in the series: where each figure is read."""

from __future__ import annotations

from twisted.logger import Logger
from twisted.python.failure import Failure

from push.connector.gateway import Gateway
from push.observe.observer import Observer
from push.observe.series import Figures
from push.runtime.ports import Clock
from push.runtime.timers import Periodic, sleep

log = Logger()

COUNT_SECONDS = 5.0
SLICE = 2000


class Unacknowledged:
    """How many messages the sessions of a connector were handed and have not acknowledged, counted
    every few seconds, some sessions at a time."""

    def __init__(self, reactor: Clock, gateway: Gateway) -> None:
        self.count: int | None = None
        self._reactor = reactor
        self._gateway = gateway
        self._counting = Periodic(reactor, COUNT_SECONDS, self._count, _log_failure)

    def start(self) -> None:
        self._counting.start(now=True)

    def stop(self) -> None:
        self._counting.stop()

    async def _count(self) -> None:
        sessions = list(self._gateway.sessions.values())
        count = 0
        for start in range(0, len(sessions), SLICE):
            if start:
                await sleep(self._reactor, 0)
            for session in sessions[start : start + SLICE]:
                window = session.protocol.window
                count += 0 if window is None else window.outstanding_count
        self.count = count


def watch_gateway(reactor: Clock, observer: Observer, gateway: Gateway) -> Unacknowledged:
    """Read the figures of `gateway` once a second. What is returned counts one of them."""
    backlog = Unacknowledged(reactor, gateway)
    counters = gateway.counters
    observer.recorder.watch(
        Figures(
            counters={
                "deliveries": lambda: gateway.delivery_policy.written,
                "acknowledgements": lambda: counters.acknowledged,
                "drops": lambda: (
                    counters.dropped_too_large
                    + counters.dropped_unacknowledged
                    + gateway.fanout.lost_qos0
                ),
                "refusals": lambda: counters.reasons.refused_here,
            },
            gauges={
                "connections": lambda: len(gateway.sessions),
                "backlog": lambda: backlog.count,
            },
            ack_latency=gateway.session_events.ack_latency,
        )
    )
    return backlog


def _log_failure(failure: Failure) -> None:
    log.failure(
        "Messages that wait for acknowledgements could not be counted",
        failure=failure,
        event="observe.backlog_not_counted",
    )
