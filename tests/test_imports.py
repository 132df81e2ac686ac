"""The layers of the source tree: imports go down, never up, and some layers know no Twisted."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "push"

# What each layer may import, beside itself. Written out and not as an order: two layers
# beside each other do not import each other, and the server imports neither pushctl nor sdk.
_LOWEST = {"wire"}
_SESSION = _LOWEST | {"session"}
_REDIS = _SESSION | {"runtime", "redis"}
_BUS = _REDIS | {"streams", "cluster"}
_DEVICES = _BUS | {"access", "devices"}
_CHAT = _DEVICES | {"chat", "webhooks"}
ALLOWED: dict[str, set[str]] = {
    "wire": set(),
    "session": _LOWEST,
    "runtime": set(),
    "redis": _SESSION | {"runtime"},
    "streams": _REDIS,
    "cluster": _REDIS,
    "access": _REDIS,
    "observe": _BUS | {"access"},
    "devices": _BUS | {"access"},
    "webhooks": _BUS | {"access"},
    "pushing": _DEVICES | {"observe"},
    "chat": _DEVICES,
    "connector": _CHAT | {"observe"},
    "http": _CHAT | {"pushing", "observe"},
    "daemons": _CHAT | {"observe", "pushing", "connector", "http"},
    "sdk": _SESSION,
    # What a command of pushctl runs, with the daemons' settings.
    "resharding": _CHAT | {"observe", "pushing", "daemons"},
    # The launcher of `make demo`.
    "demo": {"wire", "http", "daemons"},
    "pushctl": {"sdk", "wire", "resharding"},
    # The pytest plugin starts the daemons as processes: of them it knows the settings, and what a
    # process is started with.
    "testing": {"sdk", "wire", "daemons"},
}
WITHOUT_TWISTED = ("wire", "session", "sdk", "testing")


class Import(NamedTuple):
    """One name that a file imports, at the top or anywhere inside."""

    file: Path
    line: int
    name: str

    @property
    def layer(self) -> str:
        """The layer of the importing file; "" for push/__init__.py."""
        parts = self.file.relative_to(PACKAGE).parts
        return parts[0] if len(parts) > 1 else ""

    def __str__(self) -> str:
        return f"{self.file.relative_to(ROOT)}:{self.line} imports {self.name}"


def imports_of(file: Path) -> Iterator[Import]:
    """All imports, also those inside functions and under TYPE_CHECKING."""
    package = (*file.relative_to(ROOT).parts[:-1],)
    for node in ast.walk(ast.parse(file.read_text(), str(file))):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield Import(file, node.lineno, alias.name)
        elif isinstance(node, ast.ImportFrom):
            # A relative import, made absolute: one dot is the file's own package.
            above = package[: len(package) - node.level + 1] if node.level else ()
            base = ".".join((*above, node.module) if node.module else above)
            for alias in node.names:
                yield Import(file, node.lineno, f"{base}.{alias.name}")


@cache
def all_imports() -> tuple[Import, ...]:
    return tuple(found for file in sorted(PACKAGE.rglob("*.py")) for found in imports_of(file))


def under(name: str, package: str) -> bool:
    return name == package or name.startswith(f"{package}.")


def test_every_folder_is_a_known_layer() -> None:
    folders = {path.parent.name for path in PACKAGE.glob("*/*.py")}
    assert folders <= set(ALLOWED)


def test_imports_go_down() -> None:
    wrong = []
    for found in all_imports():
        parts = found.name.split(".")
        target = parts[1] if parts[0] == "push" and len(parts) > 1 else ""
        allowed = ALLOWED.get(found.layer, set(ALLOWED)) | {found.layer}
        if target in ALLOWED and target not in allowed:
            wrong.append(str(found))
    assert wrong == []


def module_of(file: Path) -> str:
    return ".".join(file.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


def imported_modules() -> dict[str, set[str]]:
    """The modules of push that each of them imports: `from push.a import b` is a or a.b."""
    modules = {module_of(file) for file in PACKAGE.rglob("*.py")}
    graph: dict[str, set[str]] = {module: set() for module in modules}
    for found in all_imports():
        name = found.name
        while name and name not in modules:
            name = name.rpartition(".")[0]
        if name and name != "push":  # push itself is the version
            graph[module_of(found.file)].add(name)
    return graph


def folders_of(modules: dict[str, set[str]]) -> dict[str, set[str]]:
    """The same for the folders that the modules are in; a folder may import itself."""
    packages = {module_of(file) for file in PACKAGE.rglob("__init__.py")}

    def folder(module: str) -> str:
        return module if module in packages else module.rpartition(".")[0]

    graph: dict[str, set[str]] = {package: set() for package in packages}
    for module, targets in modules.items():
        graph[folder(module)] |= {folder(target) for target in targets} - {folder(module)}
    return graph


def cycle_in(graph: dict[str, set[str]]) -> list[str]:
    """One cycle, its first member repeated at the end; empty when there is none."""
    done: set[str] = set()

    def walk(node: str, path: list[str]) -> list[str]:
        if node in path:
            return [*path[path.index(node) :], node]
        if node not in done:
            for target in sorted(graph[node]):
                if cycle := walk(target, [*path, node]):
                    return cycle
            done.add(node)
        return []

    return next((cycle for node in sorted(graph) if (cycle := walk(node, []))), [])


def test_a_cycle_is_found() -> None:
    """The two tests below fail when there is one."""
    graph = {"a": {"b"}, "b": {"c", "d"}, "c": set(), "d": {"b"}}
    assert cycle_in(graph) == ["b", "d", "b"]
    assert cycle_in({**graph, "d": {"c"}}) == []
    assert cycle_in({"a": {"a"}}) == ["a", "a"]
    modules = {"push.wire.frames": {"push.session.server"}, "push.session.server": set()}
    assert folders_of(modules)["push.wire"] == {"push.session"}


def test_no_module_imports_another_in_a_circle() -> None:
    assert cycle_in(imported_modules()) == []


def test_no_folder_imports_another_in_a_circle() -> None:
    assert cycle_in(folders_of(imported_modules())) == []


def test_deadlines_of_deferreds_are_set_in_one_place() -> None:
    """`addTimeout` makes a TimeoutError of some cancellations only; `within` knows what to do."""
    files = [file for file in PACKAGE.rglob("*.py") if ".addTimeout(" in file.read_text()]
    assert files == [PACKAGE / "runtime" / "tasks.py"]


def test_only_the_daemons_name_the_global_reactor() -> None:
    wrong = [
        str(found)
        for found in all_imports()
        if under(found.name, "twisted.internet.reactor") and found.layer != "daemons"
    ]
    assert wrong == []


def test_no_module_is_imported_only_for_its_types() -> None:
    """`if TYPE_CHECKING:` would hide a cycle."""
    wrong = [str(found) for found in all_imports() if found.name == "typing.TYPE_CHECKING"]
    assert wrong == []


@pytest.mark.parametrize("layer", WITHOUT_TWISTED)
def test_a_layer_names_no_twisted(layer: str) -> None:
    wrong = [
        str(found)
        for found in all_imports()
        if found.layer == layer and under(found.name, "twisted")
    ]
    assert wrong == []


def test_loading_those_layers_loads_no_twisted() -> None:
    """Not even through another library."""
    modules = [
        ".".join(file.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
        for layer in WITHOUT_TWISTED
        for file in sorted((PACKAGE / layer).rglob("*.py"))
        if file.name != "__main__.py"
    ]
    assert len(modules) >= len(WITHOUT_TWISTED)
    code = (
        "import importlib, sys\n"
        f"for name in {modules!r}: importlib.import_module(name)\n"
        "print([name for name in sys.modules if name.split('.')[0] == 'twisted'])"
    )
    ran = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert ran.stderr == ""
    assert ran.stdout.strip() == "[]"


def test_the_plugins_are_strings_only() -> None:
    """twistd imports every plugin just to list it."""
    names = {found.name for found in imports_of(ROOT / "twisted" / "plugins" / "push_plugins.py")}
    assert names == {"twisted.application.service.ServiceMaker"}


def test_no_command_of_pushctl_but_one_loads_twisted() -> None:
    """`reshard` loads it when it is run."""
    code = (
        "import sys, push.pushctl.main\n"
        "print([name for name in sys.modules if name.split('.')[0] == 'twisted'])"
    )
    ran = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert (ran.stderr, ran.stdout.strip()) == ("", "[]")
    inside = [i for i in all_imports() if i.layer == "pushctl" and ".resharding" in i.name]
    assert {found.file.name for found in inside} == {"reshard.py"}
