"""The two C programs, compiled when they are missing or older than their sources."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from pathlib import Path

SOURCES = Path(__file__).with_name("generator")
BUILT = Path(__file__).parents[1] / "build" / "benchmarks"
YARDSTICK = "send_loop"
WARNINGS = ("-Wall", "-Wextra", "-Werror")


def generator() -> str:
    """The path of the load generator."""
    own = [path for path in SOURCES.glob("*.c") if path.stem != YARDSTICK]
    return _built("generator", sorted(own), ("-lssl", "-lcrypto"))


def send_loop() -> str:
    """The path of the bare loop of `send()`."""
    return _built(YARDSTICK, [SOURCES / f"{YARDSTICK}.c"], ())


def _built(name: str, sources: list[Path], libraries: tuple[str, ...]) -> str:
    program = BUILT / name
    newest = max(path.stat().st_mtime for path in [*sources, SOURCES / "generator.h"])
    if not program.exists() or program.stat().st_mtime < newest:
        _compile(program, sources, libraries)
    return str(program)


def _compile(program: Path, sources: list[Path], libraries: tuple[str, ...]) -> None:
    """Raises SystemExit with one line when there is no compiler or no header."""
    if not (compiler := shutil.which(os.environ.get("CC", "cc"))):
        raise SystemExit("no C compiler: install one (Debian: apt install gcc libc6-dev)")
    BUILT.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=BUILT) as folder:
        made = Path(folder, program.name)
        command = [compiler, "-O2", *WARNINGS, "-o", str(made), *map(str, sources), *libraries]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if "openssl/" in done.stderr and "No such file" in done.stderr:
            raise SystemExit("no OpenSSL headers: install them (Debian: apt install libssl-dev)")
        if done.returncode:
            raise SystemExit(f"{program.name} does not compile:\n{done.stderr}")
        made.rename(program)  # at once: another run may be starting it
