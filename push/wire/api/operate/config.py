"""The settings of a daemon."""

from __future__ import annotations

from typing import Annotated, Any

from msgspec import Meta, Struct


class SettingOrigin(Struct, frozen=True):
    """A setting, and where it comes from."""

    value: Annotated[Any, Meta(description="as in the configuration file; secrets are left out")]
    source: Annotated[
        str,
        Meta(
            description="the file, the variable or the option that says so; `default` if none does"
        ),
    ]


class Configuration(Struct, frozen=True):
    """The settings of the daemon that answers, by section and key."""

    node: str
    settings: dict[str, dict[str, SettingOrigin]]
