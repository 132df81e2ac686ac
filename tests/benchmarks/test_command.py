"""The command's options, and how it makes tables of figures."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks import compiled
from benchmarks.catalog import ALL
from benchmarks.command import main, parsed
from benchmarks.results import OURS, FigureTable, Results, Table
from benchmarks.servers.peers import find_peers

ROOT = Path(__file__).parents[2]


def rounds(**servers: list[float]) -> Results:
    results = Results()
    for name, values in servers.items():
        for value in values:
            results.add("case", name.replace("_", "-"), {"rate": value, "other": 1.0})
    return results


def test_ratios_are_those_of_the_same_round() -> None:
    """Rounds of which one was slow for both: 2 is the ratio in each, and in none of the medians."""
    results = rounds(push_universe=[100, 10, 300], loop=[50, 5, 150])
    assert results.ratio("case", "rate", OURS, "loop") == 2
    results = rounds(push_universe=[100, 10, 30], loop=[50, 5, 60])
    assert results.ratio("case", "rate", OURS, "loop") == 2


def test_a_table_has_medians_and_ratios() -> None:
    results = rounds(push_universe=[100, 10, 300], loop=[50, 5, 150])
    lines = Table("case", "Title", [("a second", "rate")], "loop").markdown(results).splitlines()
    assert lines[:3] == ["### Title", "", "| server | a second | to loop | push-universe is |"]
    assert lines[4] == "| push-universe | 100 (10 to 300) | 2 times |  |"
    assert lines[5] == "| loop | 50 (5 to 150) | 1 times | 2 times |"


def test_a_case_without_rounds_has_no_table() -> None:
    assert Table("nothing", "Title", [("a second", "rate")]).markdown(rounds()) == ""


def test_a_figure_over_its_bound_is_a_problem() -> None:
    results = rounds(push_universe=[3.0])
    FigureTable("case", "Title", {"rate": 3, "other": 0.5}).check(results)
    assert results.problems == ["case: other is 1, not 0.5"]


def test_list_names_every_benchmark(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--list"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == [benchmark.name for benchmark in ALL]


def test_an_unknown_name_is_refused_with_those_there_are(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with pytest.raises(SystemExit) as caught:
        main(["--only", "broadcast,fan-out"])
    assert caught.value.code == 2
    assert "no such benchmark: fan-out; there are broadcast, http," in capsys.readouterr().err


def test_help_has_examples() -> None:
    command = [sys.executable, "-m", "benchmarks", "--help"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    assert "python -m benchmarks --only broadcast" in done.stdout


def test_without_a_compiler_one_line_says_so(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(compiled, "BUILT", tmp_path)
    monkeypatch.setenv("CC", "no-such-compiler")
    with pytest.raises(SystemExit, match=r"^no C compiler: .*apt install gcc") as caught:
        compiled.generator()
    assert "\n" not in str(caught.value)


def test_without_headers_of_openssl_one_line_says_so(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    compiler = tmp_path / "cc"
    compiler.write_text(
        "#!/bin/sh\n"
        "echo 'generator.h:9:10: fatal error: openssl/ssl.h: No such file or directory' >&2\n"
        "exit 1\n"
    )
    compiler.chmod(0o700)
    monkeypatch.setattr(compiled, "BUILT", tmp_path / "built")
    monkeypatch.setenv("CC", str(compiler))
    with pytest.raises(SystemExit, match=r"^no OpenSSL headers: .*apt install libssl-dev"):
        compiled.generator()


def test_a_peer_that_is_named_and_not_there_is_refused() -> None:
    with pytest.raises(SystemExit, match=r"^/nowhere/mosquitto: no such program$"):
        find_peers("/nowhere/mosquitto", "")


def test_peers_are_found_on_the_path(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("PEER_MOSQUITTO", raising=False)
    monkeypatch.delenv("PEER_NATS", raising=False)
    for name in ("mosquitto", "mosquitto_passwd", "nats-server"):
        (tmp_path / name).write_text("#!/bin/sh\n")
        (tmp_path / name).chmod(0o700)
    monkeypatch.setenv("PATH", str(tmp_path))
    paths = find_peers("", "")
    assert paths.mosquitto == str(tmp_path / "mosquitto")
    assert Path(paths.mosquitto_passwd).resolve() == tmp_path / "mosquitto_passwd"
    assert paths.nats == str(tmp_path / "nats-server")


def test_the_documents_commands_are_understood() -> None:
    commands = []
    for page in ("performance.md", "benchmarks.md"):
        text = (ROOT / "docs" / page).read_text("utf-8")
        commands += re.findall(r"^(?:\| `)?python -m benchmarks( [^`>\n]*)", text, re.MULTILINE)
    assert len(commands) == 8
    for command in commands:
        parsed(shlex.split(command))


def test_the_documents_name_every_benchmark() -> None:
    text = (ROOT / "docs" / "performance.md").read_text("utf-8")
    rows = re.findall(r"^\| ((?:`[a-z-]+`(?:, )?)+) \|", text, re.MULTILINE)
    named = [name for row in rows for name in re.findall(r"`([a-z-]+)`", row)]
    assert named == [benchmark.name for benchmark in ALL]
