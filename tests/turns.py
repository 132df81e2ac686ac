"""A turn of the reactor with a fake clock."""

from __future__ import annotations

from twisted.internet.task import Clock


def turn(clock: Clock) -> None:
    """What is due now, as one turn of the reactor does it: what that asks for comes later."""
    due = [call for call in clock.calls if call.getTime() <= clock.seconds()]
    for call in due:
        if call.active():
            clock.calls.remove(call)
            call.called = 1
            call.func(*call.args, **call.kw)
