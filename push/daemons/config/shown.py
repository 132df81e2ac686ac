"""The settings as an operator may see them: without secrets, and with where each comes from."""

from __future__ import annotations

import re
from collections.abc import Collection

import msgspec

from push.daemons.config.loading import KEYS
from push.daemons.config.settings import Settings
from push.wire.addresses import REDACTED, without_secrets
from push.wire.api.operate.config import Configuration, SettingOrigin

DEFAULT = "default"

# In the names of settings, and of the fields of tables in lists.
_SECRET_NAME = re.compile(r"secret|password|passphrase|sha256|headers|\btoken\b|^key$")
_PASSWORD_IN_URL = re.compile(r"(?<=://)[^\s@/]*@|^[^\s@/,:]+:[^\s@/,]*@")
_CALLED_NAME = re.compile("url|endpoint")  # what is called by HTTP: its path may be a secret
_WEB_URL = re.compile("https?://", re.IGNORECASE)
_SECRET_IN_QUERY = re.compile(r"(?<=[?&])[^\s#]*")

Shown = dict[str, dict[str, SettingOrigin]]


def shown(settings: Settings, latest: Settings, reloaded: Collection[tuple[str, str]]) -> Shown:
    """All settings by section and key. Of the keys in `reloaded` those of `latest` are in effect,
    which was read at the last reload; of all others those of the start."""
    sections: Shown = {}
    for section, name in KEYS:
        source = latest if (section, name) in reloaded else settings
        value = getattr(getattr(source, section), name)
        origin = source.sources.get((section, name), DEFAULT)
        sections.setdefault(section, {})[name] = SettingOrigin(
            _without_secrets(name, value), origin
        )
    return sections


def configuration_of(
    node: str, settings: Settings, latest: Settings, reloaded: Collection[tuple[str, str]]
) -> Configuration:
    return Configuration(node, shown(settings, latest, reloaded))


def _without_secrets(name: str, value: object) -> object:
    if _SECRET_NAME.search(name) and not isinstance(value, bool | int | float):
        return REDACTED if value else value
    if isinstance(value, str):
        # A list of URLs is kept as one text.
        return " ".join(_shown_text(name, part) for part in value.split(" "))
    if isinstance(value, msgspec.Struct):
        return _without_secrets(name, msgspec.structs.asdict(value))
    if isinstance(value, dict):
        return {key: _without_secrets(str(key), item) for key, item in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [_without_secrets(name, item) for item in value]
    return value


def _shown_text(name: str, text: str) -> str:
    if _CALLED_NAME.search(name) and _WEB_URL.match(text):
        shown = without_secrets(text)
        return shown if text.rstrip("/").lower() == shown else f"{shown}/{REDACTED}"
    return _SECRET_IN_QUERY.sub(REDACTED, _PASSWORD_IN_URL.sub(f"{REDACTED}@", text))
