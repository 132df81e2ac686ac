"""What SIGHUP does: everything that can be read again while the daemon runs.

Each part is loaded by itself. One that cannot be loaded stays as it was, and says why; the others
are not held up by it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import msgspec
from twisted.logger import Logger

from push.daemons.config.errors import StartError
from push.daemons.config.settings import SECTION_TYPES, Settings

log = Logger()

# What `ReloadPart`s apply, by section and key. Of every other setting that has changed a line says
# that it needs a restart.
RELOADED = frozenset(
    {
        ("auth", "keys"),
        ("auth", "jwt_key_file"),
        ("auth", "jwt_algorithms"),
        ("auth", "jwt_audience"),
        ("auth", "jwt_issuer"),
        ("connector", "certificate"),
        ("connector", "private_key"),
        ("connector", "client_ca"),
        ("http", "certificate"),
        ("http", "private_key"),
    }
)

# Applies settings, and says what it loaded ("3 API keys"); None when there is nothing of its kind.
# A StartError says why not, and then nothing has changed.
ReloadPart = Callable[[Settings], str | None]


class Reload:
    """Loads the settings again by `read_settings` and has the parts apply them."""

    def __init__(self, read_settings: Callable[[], Settings], settings: Settings) -> None:
        self._read_settings = read_settings
        self._started_with = settings
        self._settings = settings
        self._parts: list[ReloadPart] = []

    def add(self, part: ReloadPart) -> None:
        self._parts.append(part)

    def run(self) -> None:
        loaded: list[str] = []
        problems: list[str] = []
        for load in (self._load_settings, *self._parts):
            try:
                what = load(self._settings)
            except StartError as error:
                problems.append(str(error))
            else:
                loaded += [what] if what else []
        log.info(
            "SIGHUP: reloaded {what}", what="; ".join(loaded) or "nothing", event="reload.done"
        )
        for problem in problems:
            log.error(
                "SIGHUP: {problem}. What was to be replaced stays in effect.",
                problem=problem,
                event="reload.problem",
            )
        if waiting := list(changed(self._started_with, self._settings)):
            log.warn(
                "SIGHUP: these settings need a restart: {names}",
                names=", ".join(waiting),
                event="reload.restart_needed",
            )

    @property
    def latest(self) -> Settings:
        """The settings as they were read last; of these only `RELOADED` are in effect."""
        return self._settings

    def _load_settings(self, _: Settings) -> str | None:
        self._settings = self._read_settings()
        return "settings"


def changed(before: Settings, now: Settings) -> Iterator[str]:
    """The settings, as "section.key", that differ and that no part applies."""
    for section, section_type in SECTION_TYPES.items():
        old, new = getattr(before, section), getattr(now, section)
        for field in msgspec.structs.fields(section_type):
            if (section, field.name) in RELOADED:
                continue
            if getattr(old, field.name) != getattr(new, field.name):
                yield f"{section}.{field.name}"
