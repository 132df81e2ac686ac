"""The page in headless Chromium, against the demo as a user starts it: see `browser/`."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.demo.running import RunningDemo, started_demo, warm_command
from tests.ports import free_port
from tests.web.tools import WEB, installed, node, run, run_in_chromium

HERE = Path(__file__).parent
SCENES = sorted((HERE / "browser").glob("*.test.mjs"))


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningDemo]:
    folder = tmp_path_factory.mktemp("demo")
    with started_demo(folder, warm_command("--port", str(free_port()))) as running:
        yield running


def test_the_page(demo: RunningDemo) -> None:
    run_in_chromium(*SCENES, DEMO_URL=f"{demo.origin}/demo", DEMO_KEY=demo.key)


def test_the_types_of_the_page_fit() -> None:
    compiler = installed("typescript") / "bin" / "tsc"
    run(node(), compiler, "--project", HERE / "tsconfig.json")


def test_both_languages_have_the_same_texts_with_the_same_places() -> None:
    texts = [json.loads((WEB / "demo" / f"{name}.json").read_text()) for name in ("en", "zh")]
    places = [
        {
            key: sorted(part.split("}")[0] for part in text.split("{")[1:])
            for key, text in each.items()
        }
        for each in texts
    ]
    # A language that does not tell one from many may leave the number out.
    assert places[0].keys() == places[1].keys()
    assert {key for key in places[0] if not set(places[1][key]) <= {*places[0][key], "n"}} == set()
    assert all(text.strip() for each in texts for text in each.values())


def test_every_text_of_the_page_is_used_and_known() -> None:
    texts = json.loads((WEB / "demo" / "en.json").read_text())
    sources = "\n".join(
        path.read_text() for path in (WEB / "demo").iterdir() if path.suffix in (".js", ".html")
    )
    # Keys that are made of a part and a value: `state.${…}`, `count("inbox.count", n)`.
    made = ("connectors.", "funnel.", "state.", "stream.", "theme.")
    unused = {
        key
        for key in texts
        if key.removesuffix(".one").removesuffix(".other") not in sources
        and not key.startswith(made)
    }
    assert unused == set()
