"""`push/web` as files: types, size, and the npm package that it is."""

from __future__ import annotations

import gzip
import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from push import __version__
from tests.web.tools import HERE, MODULES, ROOT, WEB, installed, node, run, without_comments

MAX_CLIENT_BYTES = 10 * 1024  # gzipped, of push.js
MAX_ALL_BYTES = 15 * 1024  # with chat and tabs


@pytest.fixture
def tsc() -> Callable[..., None]:
    """The TypeScript compiler; fails with what it says."""
    program = installed("typescript") / "bin" / "tsc"

    def compile_project(*arguments: str | Path, cwd: Path = ROOT) -> None:
        run(node(), program, *arguments, cwd=cwd)

    return compile_project


def gzipped_bytes(*names: str) -> int:
    """Of each file by itself, as they are sent."""
    sources = (without_comments((WEB / name).read_text()) for name in names)
    return sum(len(gzip.compress(source.encode(), 9)) for source in sources)


def test_the_client_is_small() -> None:
    assert gzipped_bytes("push.js") <= MAX_CLIENT_BYTES
    assert gzipped_bytes(*MODULES) <= MAX_ALL_BYTES


def test_what_is_left_without_comments_is_the_same_program(tmp_path: Path) -> None:
    """Otherwise the test above would measure something else."""
    for name in MODULES:
        (tmp_path / name).write_text(without_comments((WEB / name).read_text()))
    (tmp_path / "package.json").write_text('{"type": "module"}')
    tests = tmp_path / "unit"
    shutil.copytree(HERE / "unit", tests)
    for test in tests.iterdir():
        test.write_text(test.read_text().replace("../../../push/web/", "../"))
    output = run(node(), "--test", "--test-reporter=tap", *sorted(tests.iterdir()), cwd=tmp_path)
    assert "\n# fail 0\n" in output


def test_nothing_but_its_own_modules_is_imported() -> None:
    for name in MODULES:
        for line in (WEB / name).read_text().splitlines():
            if line.startswith(("import ", "export * ", "} from ")):
                assert '"./push-' in line, line
        assert "import(" not in without_comments((WEB / name).read_text())
        assert "eval(" not in (WEB / name).read_text()


def test_the_types_are_right(tsc: Callable[..., None]) -> None:
    tsc("-p", HERE / "tsconfig.json")


def test_a_wrong_type_is_noticed(tsc: Callable[..., None], tmp_path: Path) -> None:
    """The check above can fail."""
    for name in (*MODULES, "push.d.ts"):
        shutil.copy(WEB / name, tmp_path)
    with (tmp_path / "push.js").open("a") as module:
        module.write("\nPushClient.nonsense();\n")
    _project(tmp_path, "push.js")
    with pytest.raises(AssertionError, match="nonsense"):
        tsc("-p", tmp_path)


def test_the_declarations_say_what_the_code_does(tsc: Callable[..., None], tmp_path: Path) -> None:
    for name in MODULES:
        shutil.copy(WEB / name, tmp_path / name.replace("push.js", "client.js"))
    shutil.copy(WEB / "push.d.ts", tmp_path)
    shutil.copy(HERE / "agree.ts", tmp_path)
    _project(tmp_path, "agree.ts")
    tsc("-p", tmp_path)


def test_an_undeclared_method_is_noticed(tsc: Callable[..., None], tmp_path: Path) -> None:
    """The check above can fail."""
    for name in MODULES:
        shutil.copy(WEB / name, tmp_path / name.replace("push.js", "client.js"))
    client = (WEB / "push.js").read_text()
    assert "\n  check() {" in client
    (tmp_path / "client.js").write_text(
        client.replace("\n  check() {", "\n  secretly() {}\n\n  check() {")
    )
    shutil.copy(WEB / "push.d.ts", tmp_path)
    shutil.copy(HERE / "agree.ts", tmp_path)
    _project(tmp_path, "agree.ts")
    with pytest.raises(AssertionError, match="secretly"):
        tsc("-p", tmp_path)


def test_every_option_that_is_declared_is_read() -> None:
    declared = (WEB / "push.d.ts").read_text()
    options = declared.split("export interface PushClientOptions {")[1].split("\n}")[0]
    names = {
        line.strip().partition("?:")[0]
        for line in options.splitlines()
        if "?:" in line and "*" not in line
    }
    assert len(names) > 20
    code = without_comments((WEB / "push.js").read_text())
    assert {name for name in names if name not in code} == set()


def test_the_versions_are_one() -> None:
    package = json.loads((WEB / "package.json").read_text())
    assert package["version"] == __version__
    assert f'export const VERSION = "{__version__}";' in (WEB / "push.js").read_text()
    assert package["license"] == "Apache-2.0"
    assert (WEB / "LICENSE").read_bytes() == (ROOT / "LICENSE").read_bytes()


def test_it_is_an_npm_package(tsc: Callable[..., None], tmp_path: Path) -> None:
    """Packed, installed elsewhere without a network, imported and used by TypeScript."""
    npm = shutil.which("npm")
    if npm is None:
        pytest.skip("npm is not installed")
    quiet = ("--silent", "--no-audit", "--no-fund", "--offline", "--ignore-scripts")
    cache = f"--cache={tmp_path / 'cache'}"
    run(npm, "pack", WEB, "--pack-destination", tmp_path, *quiet, cache, cwd=tmp_path)
    (tarball,) = tmp_path.glob("*.tgz")
    user = tmp_path / "user"
    user.mkdir()
    (user / "package.json").write_text('{"name": "user", "private": true, "type": "module"}')
    run(npm, "install", tarball, *quiet, cache, cwd=user)
    package = user / "node_modules" / "push-universe"
    assert {path.name for path in package.iterdir()} == {
        *(*MODULES, "push.d.ts", "package.json", "LICENSE"),
    }
    script = (
        'import { PushClient, PushError, VERSION } from "push-universe";'
        'const options = { servers: "wss://push.example/ws", key: "", WebSocket: class {} };'
        "const client = new PushClient(options);"
        "console.log(VERSION, client.state, PushError.name)"
    )
    output = run(node(), "--input-type=module", "-e", script, cwd=user)
    assert output.strip() == f"{__version__} idle PushError"
    (user / "use.ts").write_text(
        'import { PushClient, type Message } from "push-universe";\n'
        'const client = new PushClient({ key: "x" });\n'
        'client.on("message", (message: Message) => client.send({ user: "ben" }, message.id));\n'
    )
    _project(user, "use.ts", lib=["ES2022"])  # without a page's types, as in Node.js
    tsc("-p", user)


def _project(folder: Path, *files: str, **settings: object) -> None:
    options = json.loads((HERE / "tsconfig.json").read_text())["compilerOptions"]
    project = {"compilerOptions": {**options, **settings}, "files": files}
    (folder / "tsconfig.json").write_text(json.dumps(project))
