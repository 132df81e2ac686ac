"""What an operator should know of the settings of a daemon that works all the same."""

from __future__ import annotations

from collections.abc import Sequence, Set

from twisted.logger import Logger

from push.daemons.config.settings import Settings
from push.daemons.demo import DEMO_NOTE, DEMO_ROLES, NO_DEMO_NOTE
from push.daemons.process.listening import backlog_notes
from push.daemons.security.plain import plain_notes

log = Logger()


def clamped_notes(
    settings: Settings, roles: Set[str], room_notes: Sequence[str], *, shared: bool
) -> list[str]:
    """Settings of which less is used than was given, in sentences; the log has them too.

    `room_notes`: of the connections that there is room for. `shared`: other processes may listen
    on the same ports.
    """
    clamped = [*settings.notes, *room_notes, *backlog_notes()]
    if settings.server.reuse_port and not shared:
        clamped.append(
            "server.reuse_port does nothing with the embedded Redis, which serves one process"
        )
    if "connector" in roles:
        clamped += plain_notes(settings.connector)
    if settings.http.demo:
        clamped.append(DEMO_NOTE if roles >= DEMO_ROLES else NO_DEMO_NOTE)
    for note in clamped:
        log.warn("{note}", note=note, event="settings.note")
    return clamped
