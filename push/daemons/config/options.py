"""The options of the daemons, made from the definitions in `push.daemons.config.settings`."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any, ClassVar, NoReturn

from twisted.python import usage

from push import __version__
from push.daemons.config.errors import SettingsError
from push.daemons.config.loading import KEYS, SettingKey, as_toml, load
from push.daemons.config.settings import Settings
from push.wire.text import visible

REDIS_OF_A_DAEMON = {("redis", "url"): "redis://127.0.0.1:6379"}
REUSE_PORT = "reuse-port"


class DaemonOptions(usage.Options):
    """Options of one daemon; `settings` has the result once they are parsed.

    A problem is one line on standard error and exit status 1. (twistd itself would print its whole
    help to standard output first, and a supervisor's log would show that instead of the reason.)
    """

    tap: ClassVar[str]
    replaced_defaults: ClassVar[dict[tuple[str, str], Any]] = {}
    examples: ClassVar[Sequence[str]] = ()
    settings: Settings

    def parseOptions(self, options: Sequence[str] | None = None) -> None:
        try:
            super().parseOptions([_with_dashes(word) for word in options or ()])
        except usage.UsageError as error:
            if self.parent is None:
                raise
            self._exit(str(error))

    def _exit(self, problem: str) -> NoReturn:
        line = f"twistd {self.tap}: {problem} (twistd {self.tap} --help explains all)"
        raise SystemExit(visible(line))

    def postOptions(self) -> None:
        try:
            self.settings = self.read_settings()
        except SettingsError as error:
            raise usage.UsageError(str(error)) from None
        # For later calls, should the working folder become another one.
        if self["config"]:
            self["config"] = os.path.abspath(self["config"])

    def read_settings(self) -> Settings:
        """The settings as file, environment and options say now. Raises `SettingsError`."""
        given = {
            name: text
            for name, text in self.items()
            if name not in ("config", REUSE_PORT) and text is not None
        }
        if self[REUSE_PORT]:
            given[f"server-{REUSE_PORT}"] = "true"
        return load(
            config_file=self["config"],
            environment=os.environ,
            options=given,
            defaults=self.replaced_defaults,
        )

    def getUsage(self, width: int | None = None) -> str:
        """Twisted's text, then each example on a line of its own, where it can be pasted from."""
        lines = [f"  twistd {example}" for example in self.examples]
        return "\n".join([super().getUsage(width), "Examples:", *lines, ""])

    def opt_version(self) -> NoReturn:
        """Print the version and exit."""
        print(f"push {__version__}")
        raise SystemExit(0)


def _with_dashes(word: str) -> str:
    """Options are shown as --connector-max-frame; a key's own underscores do as well."""
    if not word.startswith("--"):
        return word
    name, equals, value = word.partition("=")
    return name.replace("_", "-") + equals + value


def make_options(
    tap: str,
    only: Sequence[str],
    defaults: dict[tuple[str, str], Any] | None = None,
    examples: Sequence[str] = (),
) -> type[DaemonOptions]:
    """The options class of `twistd <tap>`.

    `only` names what matters to this daemon, as "section" or "section.key": these become options.
    File and environment may hold every setting, so that one file serves all daemons. `examples` are
    the arguments of command lines for the help.
    """
    replaced = defaults or {}
    keys = [key for key in KEYS.values() if key.section in only or key.path in only]
    parameters = [["config", None, None, "TOML file with settings; etc/push.toml shows them all"]]
    parameters += [[key.option, None, None, _help(key, replaced)] for key in keys]
    return type(
        "Options",
        (DaemonOptions,),
        {
            "tap": tap,
            "replaced_defaults": replaced,
            "optParameters": parameters,
            "optFlags": [[REUSE_PORT, None, f"the same as --server-{REUSE_PORT}=true"]],
            "examples": examples,
            "longdesc": _long_description(tap),
        },
    )


def _help(key: SettingKey, replaced: dict[tuple[str, str], Any]) -> str:
    default = as_toml(replaced.get((key.section, key.name), key.default))
    shape = f", {key.expects}" if key.expects not in ("", "text", "a list") else ""
    return f"{key.help} (default {default}{shape})"


def _long_description(tap: str) -> str:
    return (
        "Settings come from the file of --config, then from variables "
        "PUSH_<SECTION>_<KEY> (PUSH_SERVER_DATA for --server-data), then from options. "
        "A list in a variable or option is a TOML value, as "
        "'[\"tls://push.example.com:6790\"]'. "
        f"Options of twistd itself (-n: stay in the foreground) come before {tap}."
    )
