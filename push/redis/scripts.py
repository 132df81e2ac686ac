"""Lua scripts, the files of `push/lua/`, each composed with what it needs of the library files.

A file says in its header which files of `push/lua/lib/` it uses (`-- uses: log, ledger`). A script
is sent after `prelude.lua` and those functions and constants of the library files that it needs,
directly or through others. So Redis runs nothing that has no use: all of it is run at each call.
Redis counts the lines of what it was sent: `Script.explain` names our files and lines.
"""

from __future__ import annotations

import hashlib
import re
from bisect import bisect_right
from collections.abc import Iterable
from importlib.resources import files
from importlib.resources.abc import Traversable
from typing import NamedTuple

import txredisapi

from push.redis.connection.protocols import CommandProtocol

PRELUDE = "prelude"
_USES = re.compile(r"-- uses:(.*)")
_REDIS_LINE = re.compile(r"@?user_script: ?(\d+)")
_CONSTANT = re.compile(r"local ([A-Z][A-Z_0-9]*) = ('[^'\\]*'|\d+)\n")
# A name, of which a field has a dot before it, and a text of one word a quotation mark. One in a
# comment or in a longer text is taken for a name as well: then more is sent than is needed.
_NAME = re.compile(r"(?<![.'\"\w])[A-Za-z_]\w*")
_DEFINITION = re.compile(r"local function (\w+)|local ([\w, ]+)")
# What goes on with a statement although it is not indented.
_GOES_ON = re.compile(r"\s|$|(?:end|else|elseif|until)\b|[})\]]")


class ScriptError(Exception):
    """A script, or a library file that it names, cannot be composed."""


class Statement(NamedTuple):
    """A top-level statement of a file: the line it begins at, its text, the names that it defines
    and the words in it."""

    path: str
    line: int
    text: str
    names: frozenset[str]
    words: frozenset[str]


class LuaFile(NamedTuple):
    """A file of `push/lua/`: its path in the source tree, the comment it begins with, its top-level
    statements and the library files that it names."""

    path: str
    header: str
    statements: tuple[Statement, ...]
    uses: tuple[str, ...]

    @property
    def names(self) -> frozenset[str]:
        """All that the file defines at its top level."""
        return frozenset().union(*(statement.names for statement in self.statements))


class Script:
    """A script: its source, its SHA-1 for EVALSHA, and the statements that it is made of."""

    __slots__ = ("_first_lines", "is_packed", "name", "sha", "source", "statements")

    def __init__(self, name: str, source: str, statements: tuple[Statement, ...] = ()) -> None:
        self.name = name
        self.source = source.encode()
        self.sha = hashlib.sha1(self.source).hexdigest()  # what EVALSHA is defined by
        self.statements = statements
        # Its reply is one text of msgpack (lib/packed.lua).
        self.is_packed = any("packed" in statement.names for statement in statements)
        self._first_lines: list[int] = []
        line = 1
        for statement in statements:
            self._first_lines.append(line)
            line += statement.text.count("\n")

    @property
    def lines(self) -> int:
        """How many lines are sent to Redis."""
        return self.source.count(b"\n")

    def explain(self, text: str) -> str:
        """An error of Redis, with `push/lua/lib/log.lua:41` for `user_script:297`."""
        if not self.statements:
            return text
        return _REDIS_LINE.sub(lambda match: self._place(int(match[1])), text)

    def _place(self, line: int) -> str:
        index = max(0, bisect_right(self._first_lines, line) - 1)
        statement = self.statements[index]
        return f"{statement.path}:{statement.line + line - self._first_lines[index]}"


class ScriptFolder:
    """A folder with scripts in folders, and with the files that they share in `lib`."""

    def __init__(self, root: Traversable, shown_as: str) -> None:
        self._root = root
        self._shown_as = shown_as
        self._files: dict[str, LuaFile] = {}

    def load(self, folder: str, name: str) -> Script:
        """The script `<folder>/<name>.lua` with all it needs. Raises `ScriptError`."""
        script = self.read(f"{folder}/{name}")
        prelude = self.read(f"lib/{PRELUDE}").statements
        needed = _needed(self.closure(script), script)
        return _compose(name, _inlined([*prelude, *needed]))

    def load_alone(self, folder: str, name: str) -> Script:
        """A script without prelude and libraries: what is asked before a server can be used."""
        return _compose(name, self.read(f"{folder}/{name}").statements)

    def read(self, name: str) -> LuaFile:
        """The file `<name>.lua`. Raises `ScriptError` when it is missing."""
        if name not in self._files:
            path = f"{self._shown_as}/{name}.lua"
            try:
                text = self._root.joinpath(f"{name}.lua").read_text("utf-8")
            except FileNotFoundError:
                raise ScriptError(f"there is no {path}") from None
            self._files[name] = _parse(path, text)
        return self._files[name]

    def closure(self, file: LuaFile) -> list[LuaFile]:
        """The library files that `file` uses, each behind those that it uses itself."""
        found: dict[str, LuaFile] = {}

        def add(user: LuaFile, way: tuple[str, ...]) -> None:
            for name in user.uses:
                if name in way:
                    circle = " -> ".join((*way[way.index(name) :], name))
                    raise ScriptError(f"library files use each other in a circle: {circle}")
                if name in found:
                    continue
                try:
                    library = self.read(f"lib/{name}")
                except ScriptError as error:
                    raise ScriptError(f"{user.path} uses `{name}`, but {error}") from None
                add(library, (*way, name))
                found[name] = library

        add(file, ())
        return list(found.values())


def _parse(path: str, text: str) -> LuaFile:
    lines = text.splitlines()
    head = next((i for i, line in enumerate(lines) if not line.startswith("--")), len(lines))
    uses = (match[1] for match in map(_USES.fullmatch, lines[:head]) if match)
    names = tuple(name.strip() for part in uses for name in part.split(","))
    return LuaFile(path, "\n".join(lines[:head]), tuple(_statements(path, lines)), names)


def _statements(path: str, lines: list[str]) -> Iterable[Statement]:
    """The files are formatted: what is indented belongs to the statement before."""
    first = 0
    while first < len(lines):
        if not lines[first] or lines[first].startswith("--"):
            first += 1
            continue
        last = first + 1
        while last < len(lines) and _GOES_ON.match(lines[last]):
            last += 1
        text = "\n".join(lines[first:last]).rstrip("\n") + "\n"
        words = frozenset(_NAME.findall(text))
        definition = _DEFINITION.match(text)
        defined = (definition[1] or definition[2]) if definition else ""
        names = frozenset(_NAME.findall(defined))
        yield Statement(path, first + 1, text, names, words)
        first = last


def _needed(libraries: list[LuaFile], script: LuaFile) -> list[Statement]:
    """The script's statements behind those of the libraries that they need. What defines no name is
    there for what it does, and stays."""
    needed = list(script.statements)
    wanted = set[str]().union(*(statement.words for statement in needed))
    for library in reversed(libraries):
        for statement in reversed(library.statements):
            if not statement.names or statement.names & wanted:
                needed.insert(0, statement)
                wanted |= statement.words
    return needed


def _inlined(statements: Iterable[Statement]) -> list[Statement]:
    """With the values of constants in place of their names. Redis creates every function again at
    each call, which takes longer the more names the function shares with others."""
    statements = list(statements)
    found = map(_CONSTANT.fullmatch, (statement.text for statement in statements))
    values = {match[1]: match[2] for match in found if match}

    def value(name: re.Match[str]) -> str:
        return values.get(name[0], name[0])

    return [
        statement._replace(text=_NAME.sub(value, statement.text))
        for statement in statements
        if not statement.names <= values.keys() or not statement.names
    ]


def _compose(name: str, statements: Iterable[Statement]) -> Script:
    statements = tuple(statements)
    return Script(name, "".join(statement.text for statement in statements), statements)


LUA = ScriptFolder(files("push").joinpath("lua"), "push/lua")
load_script = LUA.load


async def load(protocol: CommandProtocol, script: Script) -> None:
    """Redis knows the script from now on. Raises txredisapi's error, by our files and lines."""
    try:
        await protocol.call("SCRIPT", "LOAD", script.source)
    except txredisapi.ResponseError as error:
        raise txredisapi.ResponseError(script.explain(str(error))) from None
