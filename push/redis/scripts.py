"""Lua scripts, the files of `push/lua/`, with a common head.

The head (`prelude.lua`) holds what several scripts must agree on, above all the clock.
"""

from __future__ import annotations

import hashlib
from importlib.resources import files

CLAIMING = ("lib", "claiming")  # for scripts that claim work


class Script:
    """A script's source and the SHA-1 that EVALSHA names it by."""

    __slots__ = ("name", "sha", "source")

    def __init__(self, name: str, source: str) -> None:
        self.name = name
        self.source = source.encode()
        self.sha = hashlib.sha1(self.source).hexdigest()  # what EVALSHA is defined by


def load_script(room: str, name: str, *libraries: tuple[str, str]) -> Script:
    """The script `push/lua/<room>/<name>.lua`, behind the common head and `libraries`.

    A library is `(room, name)` of a file with functions that several scripts share.
    """
    parts = [("lib", "prelude"), *libraries, (room, name)]
    lua = files("push").joinpath("lua")
    texts = [lua.joinpath(part, f"{file}.lua").read_text("utf-8") for part, file in parts]
    return Script(name, "\n".join(texts))
