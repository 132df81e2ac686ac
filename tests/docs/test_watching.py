"""etc/prometheus and etc/grafana: they are what Prometheus and Grafana take, and agree with the
script and the metrics (that these exist is for tests/live/test_metrics.py)."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

ETC = Path(__file__).parents[2] / "etc"
DASHBOARD = ETC / "grafana" / "push-universe.json"
RULES = ETC / "prometheus" / "push.rules.yml"


def promtool(*arguments: str | Path, input: str = "") -> subprocess.CompletedProcess[str]:
    if shutil.which("promtool") is None:
        pytest.skip("needs promtool (Debian: prometheus)")
    return subprocess.run(
        ["promtool", *arguments], input=input, capture_output=True, text=True, check=False
    )


def panels() -> list[dict[str, Any]]:
    return list(json.loads(DASHBOARD.read_text())["panels"])


def expressions_of_dashboard() -> list[str]:
    return [target["expr"] for panel in panels() for target in panel.get("targets", ())]


def rules() -> list[dict[str, Any]]:
    groups = yaml.safe_load(RULES.read_text())["groups"]
    return [rule for group in groups for rule in group["rules"]]


def test_prometheus_takes_the_configuration_and_the_rules() -> None:
    done = promtool("check", "config", ETC / "prometheus" / "prometheus.yml")
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_alerts_fire_when_they_should() -> None:
    done = promtool("test", "rules", ETC / "prometheus" / "push.rules.test.yml")
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_alert_has_a_test_in_which_it_fires() -> None:
    tests = yaml.safe_load((ETC / "prometheus" / "push.rules.test.yml").read_text())["tests"]
    fired = {
        each["alertname"]
        for test in tests
        for each in test["alert_rule_test"]
        if each["exp_alerts"]
    }
    assert fired == {rule["alert"] for rule in rules()}


def test_every_alert_says_what_is_wrong_and_what_to_do() -> None:
    for rule in rules():
        assert rule["labels"]["severity"] in ("warning", "critical"), rule["alert"]
        assert set(rule["annotations"]) == {"summary", "description"}, rule["alert"]


def test_the_dashboard_is_what_the_script_writes() -> None:
    script = [sys.executable, ETC / "grafana" / "dashboard.py"]
    written = subprocess.run(script, capture_output=True, text=True, check=True).stdout
    assert DASHBOARD.read_text() == written


def test_prometheus_understands_every_query_of_the_dashboard(tmp_path: Path) -> None:
    recorded = [
        {"record": f"query:{number}", "expr": expression.replace("$__rate_interval", "5m")}
        for number, expression in enumerate(expressions_of_dashboard())
    ]
    assert len(recorded) > 30
    file = tmp_path / "queries.yml"
    file.write_text(yaml.safe_dump({"groups": [{"name": "dashboard", "rules": recorded}]}))
    done = promtool("check", "rules", "--lint=none", file)
    assert done.returncode == 0, done.stdout + done.stderr


def test_panels_of_the_dashboard_do_not_overlap_and_have_ids_of_their_own() -> None:
    cells: set[tuple[int, int]] = set()
    for panel in panels():
        place = panel["gridPos"]
        assert place["x"] + place["w"] <= 24
        own = {
            (place["x"] + dx, place["y"] + dy)
            for dx in range(place["w"])
            for dy in range(place["h"])
        }
        assert not cells & own, panel["title"]
        cells |= own
    assert len({panel["id"] for panel in panels()}) == len(panels())


def test_variables_of_the_dashboard_are_those_that_its_queries_use() -> None:
    text = DASHBOARD.read_text()
    used = set(re.findall(r"\$\{?(\w+)", text)) - {"__rate_interval", "__all"}
    named = {each["name"] for each in json.loads(text)["templating"]["list"]}
    assert used == named
