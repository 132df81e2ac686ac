"""The Lua of the source tree: headers, libraries, sizes, and the names that Python has as well."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path

import pytest

from push.redis import keyspace
from push.redis.scripts import LUA, PRELUDE, LuaFile, Script
from push.resharding.kinds import KINDS
from push.streams.publisher import StreamMessage
from push.wire import defaults

ROOT = Path(__file__).parents[2]
FILES = {
    path.relative_to(ROOT / "push" / "lua").with_suffix("").as_posix(): path
    for path in sorted((ROOT / "push" / "lua").rglob("*.lua"))
}
LIBRARIES = [name for name in FILES if name.startswith("lib/") and name != f"lib/{PRELUDE}"]
ALONE = [name for name in FILES if name.startswith("server/")]  # they need no prelude
SCRIPTS = [name for name in FILES if not name.startswith("lib/") and name not in ALONE]

# How many lines Redis is sent at most, by folder; and for the scripts that run most often.
MOST_LINES = {
    "access": 80,
    "chat": 510,
    "cluster": 80,
    "devices": 400,
    "observe": 100,
    "queues": 50,
    "resharding": 50,
    "streams": 300,
    "webhooks": 150,
}
MOST_LINES_OF = {
    "chat/send": 500,
    "chat/typing": 180,
    "webhooks/claim": 170,
    "chat/history": 170,
    "devices/open": 430,
    "streams/publish": 310,
    "streams/cursors": 310,
    "streams/read": 70,
}
CODES = ("DROPPED", "WAITING", "ACKNOWLEDGED", "EXPIRED", "CANCELLED")
PYTHON_ONLY = {"ENTRY_ONLINE", "DROPPED_CONGESTED", "DROPPED_TOO_LARGE"}  # no script names them


def load(name: str) -> Script:
    return LUA.load(*name.split("/"))


def code_of(file: LuaFile) -> str:
    return "".join(statement.text for statement in file.statements)


def uses_of(file: LuaFile) -> list[LuaFile]:
    return [LUA.read(f"lib/{name}") for name in file.uses]


def test_every_file_says_what_it_is() -> None:
    for name in FILES:
        header = LUA.read(name).header
        assert re.match(r"-- [A-Z]", header), f"{name} begins with what it does"
        if not name.startswith("lib/"):
            missing = [word for word in ("KEYS", "ARGV") if f"\n-- {word}: " not in header]
            assert not missing, f"{name}: {missing}"
            assert re.search(r"^-- Returns ", header, re.MULTILINE), name


@pytest.mark.parametrize("name", SCRIPTS)
def test_every_script_can_be_composed_and_is_small(name: str) -> None:
    """An unknown name or a circle of libraries ends here."""
    script = load(name)
    assert script.lines <= MOST_LINES_OF.get(name, MOST_LINES[name.partition("/")[0]])
    assert len(script.statements) < 150  # Lua: at most 200 local variables


def test_a_script_that_packs_a_reply_packs_every_one() -> None:
    packing = [name for name in SCRIPTS if load(name).is_packed]
    assert "streams/read" in packing
    for name in packing:
        code = "".join(
            statement.text
            for statement in LUA.read(name).statements
            if not statement.text.startswith("local function")
        )
        replies = re.findall(r"\breturn (\S*)", code)
        assert replies, name
        assert all(reply.startswith("packed(") for reply in replies), f"{name}: {replies}"


def test_every_library_that_a_file_names_is_used_by_it() -> None:
    for name in [*SCRIPTS, *LIBRARIES]:
        file = LUA.read(name)
        words = set[str]().union(*(statement.words for statement in file.statements))
        # A file of which a statement has no name is there for what that does: a kind of work.
        idle = [
            used.path
            for used in uses_of(file)
            if not used.names & words and all(statement.names for statement in used.statements)
        ]
        assert not idle, f"{name}: {idle}"
        assert len(set(file.uses)) == len(file.uses), name


def test_every_function_of_a_script_is_used() -> None:
    for name in [*SCRIPTS, *ALONE]:
        statements = LUA.read(name).statements
        for statement in statements:
            if statement.text.startswith("local function"):
                (defined,) = statement.names
                others = (other for other in statements if other is not statement)
                assert any(defined in other.words for other in others), f"{name}: {defined}"


def test_everything_in_the_libraries_is_used_by_some_script() -> None:
    scripts = [load(name) for name in SCRIPTS]
    sent = {(part.path, part.line) for script in scripts for part in script.statements}
    words = set[str]().union(
        *(part.words - part.names for name in FILES for part in LUA.read(name).statements)
    )
    idle = {
        f"{part.path}:{part.line}"
        for name in LIBRARIES
        for part in LUA.read(name).statements
        # A constant is put in place where it is used.
        if (part.path, part.line) not in sent and not part.names & words
    }
    assert idle == set()


def test_no_name_means_two_things() -> None:
    """A name of a library is of one file, and no script that uses it has another meaning for it."""
    owners = Counter(name for library in LIBRARIES for name in LUA.read(library).names)
    assert [name for name, count in owners.items() if count > 1] == []
    for name in SCRIPTS:
        script = LUA.read(name)
        shared = {each for library in LUA.closure(script) for each in library.names}
        assert script.names & shared == set(), name


def test_what_the_loader_relies_on() -> None:
    """It takes a file to pieces by its indents, so no text goes over several lines; and puts
    constants in place by their names, so none is within a longer text."""
    upper = {word for name in FILES for word in LUA.read(name).names if word.isupper()}
    assert "ACKNOWLEDGED" in upper
    for name in FILES:
        code = code_of(LUA.read(name))
        assert "[[" not in code, name
        texts = [text for text in re.findall(r"'([^'\n]*)'", code) if text not in upper]
        assert not upper & set(re.findall(r"\w+", " ".join(texts))), name


def test_entries_are_read_in_one_place() -> None:
    """Of a log, and of a history."""
    found = {name for name in FILES if re.search(r"\[2\]\[|entry\[2\]", code_of(LUA.read(name)))}
    assert found == {"lib/entry", "lib/history"}


def test_the_name_of_a_key_is_in_one_library_file() -> None:
    keys = {kind.name for kind in KINDS}
    places: dict[str, set[str]] = {}
    for name in FILES:
        for key in re.findall(r"prefix \.\. '([a-z-]+:?)'", code_of(LUA.read(name))):
            places.setdefault(key, set()).add(name)
    assert places.keys() <= keys
    assert {key: names for key, names in places.items() if len(names) > 1} == {}
    elsewhere = {key for key, (name,) in places.items() if not name.startswith("lib/")}
    assert elsewhere == {keyspace.SHARD, keyspace.ARRIVING}  # of resharding only


def test_resharding_knows_every_key() -> None:
    source = (ROOT / "push" / "redis" / "keyspace.py").read_text()
    keys = source.partition("# --- Keys")[2].partition("# --- Fields")[0]
    found = set(re.findall(r'^[A-Z_]+ = "([^"]+)"', keys, re.MULTILINE))
    assert found == {kind.name for kind in KINDS}


def constants_of_lua() -> dict[str, str]:
    found = re.findall(r"^local (\w+) = '([^']*)'$", FILES["lib/fields"].read_text(), re.MULTILINE)
    return dict(found)


def test_fields_and_codes_have_the_same_names_in_python_and_in_lua() -> None:
    python = {
        name: value
        for name, value in vars(keyspace).items()
        if isinstance(value, str) and name.startswith(("DEVICE_", "LEDGER_", "ENTRY_", *CODES))
    }
    for name in (*PYTHON_ONLY, "DEVICE_PREFIX"):
        del python[name]
    assert constants_of_lua() == python


def test_scripts_keep_an_idempotency_key_for_as_long_as_python_says() -> None:
    assert re.findall(
        r"^local (\w+) = (\d+)$", FILES["lib/idempotency"].read_text(), re.MULTILINE
    ) == [("IDEMPOTENCY_KEY_SECONDS", str(defaults.IDEMPOTENCY_KEY_SECONDS))]


def test_no_other_lua_file_writes_a_field_of_a_stream_or_a_code_out() -> None:
    """Short texts mean other things elsewhere; those that end with a colon are looked for."""
    values = {value for value in constants_of_lua().values() if ":" in value}
    for name in FILES:
        if name != "lib/fields":
            literals = set(re.findall(r"'([^']*)'", code_of(LUA.read(name))))
            assert literals & values == set(), name


def test_a_published_message_is_unpacked_in_the_order_of_its_fields() -> None:
    """The struct goes as an array: its values have no names in the script but these."""
    text = FILES["streams/publish"].read_text("utf-8")
    unpacked = re.search(r"local _, ([\w, ]+) =\s+cmsgpack\.unpack_limit\(item, (\d+), 1\)", text)
    assert unpacked is not None
    names, count = unpacked.groups()
    assert names.split(", ") == [
        name.removesuffix("_seconds") for name in StreamMessage.__struct_fields__
    ]
    assert int(count) == len(StreamMessage.__struct_fields__)
