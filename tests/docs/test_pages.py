"""What holds for all pages: they build without a warning; towncrier reads every fragment."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGES = sorted((ROOT / "docs").rglob("*.md"))
FRAGMENTS = sorted(path for path in (ROOT / "changelog.d").iterdir() if path.suffix == ".md")
TOWNCRIER = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["tool"]["towncrier"]


def run(*command: str) -> str:
    """The standard output of a tool of the virtual environment."""
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_the_pages_build_without_a_warning_and_the_index_leads_to_each(tmp_path: Path) -> None:
    """As `make docs` does it, from an empty folder."""
    made = "sphinx -E -W --keep-going -q -b html docs build/docs"
    assert f"-m {made}\n" in (ROOT / "Makefile").read_text()
    run(sys.executable, "-m", *made.replace("build/docs", str(tmp_path)).split())
    index = (tmp_path / "index.html").read_text("utf-8")
    for page in PAGES:
        built = page.relative_to(ROOT / "docs").with_suffix(".html")
        assert f'href="{built}"' in index or page.stem == "index"


@pytest.mark.parametrize(
    "page",
    [*PAGES, *ROOT.glob("README*.md"), ROOT / "CONTRIBUTING.md", ROOT / "tests" / "README.md"],
    ids=str,
)
def test_each_link_to_a_file_leads_to_one(page: Path) -> None:
    """In examples of code there are paths of the reader's own."""
    text = re.sub(r"(?ms)^```.*?^```", "", page.read_text("utf-8"))
    for target in re.findall(r"\]\(([^)#\s]+)[^)]*\)", text) + re.findall(r'src="([^"]+)"', text):
        assert "://" in target or (page.parent / target).exists(), target


def test_each_fragment_of_the_change_log_is_of_a_known_type_and_says_something() -> None:
    """A file that towncrier does not know would be missing in the change log."""
    types = {kind["directory"] for kind in TOWNCRIER["type"]}
    assert TOWNCRIER["directory"] == "changelog.d"
    assert TOWNCRIER["start_string"] in (ROOT / TOWNCRIER["filename"]).read_text("utf-8")
    for path in (ROOT / "changelog.d").iterdir():
        if path.name.startswith("."):
            continue
        assert re.fullmatch(rf"\+[\w-]+\.({'|'.join(types)})\.md", path.name), path.name
        assert path.read_text("utf-8").strip(), path.name


def test_the_draft_of_the_change_log_has_every_fragment() -> None:
    draft = " ".join(
        run(sys.executable, "-m", "towncrier", "build", "--draft", "--version", "1.2.3").split()
    )
    assert "## 1.2.3" in draft
    for path in FRAGMENTS:
        assert " ".join(path.read_text("utf-8").split()) in draft, path.name


def test_the_hooks_call_the_projects_own_tools() -> None:
    run(sys.executable, "-m", "pre_commit", "validate-config")
    text = (ROOT / ".pre-commit-config.yaml").read_text("utf-8")
    assert re.findall(r"repo: (.*)", text) == ["local"]
    commands = [entry.split() for entry in re.findall(r"entry: (.+)", text)]
    assert len(commands) == text.count("- id:")
    for command, *arguments in commands:
        if command == "sh":
            assert (ROOT / arguments[0]).is_relative_to(ROOT / ".ci")
            assert (ROOT / arguments[0]).is_file()
        else:
            assert command.startswith(".venv/bin/")
            assert (Path(sys.executable).parent / Path(command).name).exists()
