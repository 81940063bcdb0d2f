"""Alerts and dashboards: they are valid, and all that they ask for is among the server's metrics."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.deploy.files import DEPLOY, run_program
from tests.process.scraping import scrape
from tests.project.repository import ROOT
from tests.running_server import RunningServer

ALERTS = DEPLOY / "prometheus" / "alerts.yml"
DASHBOARDS = sorted((DEPLOY / "grafana").glob("*.json"))
RULES: list[dict[str, Any]] = yaml.safe_load(ALERTS.read_text(encoding="utf-8"))["groups"][0]["rules"]
SELECTOR = re.compile(r"(seestack_\w+)(?:\{([^}]*)\})?")
MATCHER = re.compile(r'(\w+)(=~|!=|=)"([^"]*)"')
OF_PROMETHEUS = {"instance", "job"}


def expressions_in(value: object) -> Iterator[str]:
    """Yield the expressions of a dashboard, wherever they are in it."""
    if isinstance(value, dict):
        for name, inner in value.items():
            if name == "expr":
                yield inner
            else:
                yield from expressions_in(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from expressions_in(inner)


def expressions_of_dashboard(path: Path) -> list[str]:
    return list(expressions_in(json.loads(path.read_text(encoding="utf-8"))))


@pytest.fixture(scope="module")
def metrics(server: RunningServer) -> dict[str, set[tuple[str, str]]]:
    """The labels and values that each metric has, from a scrape."""
    found: dict[str, set[tuple[str, str]]] = {}
    for name, labels in scrape(server).values:
        found.setdefault(name, set()).update(labels)
    return found


def unknown_in(expression: str, metrics: dict[str, set[tuple[str, str]]]) -> list[str]:
    """Return the metrics, labels and values of an expression that the server does not have."""
    unknown = []
    for name, matchers in SELECTOR.findall(expression):
        if name not in metrics:
            unknown.append(name)
            continue
        for label, operator, values in MATCHER.findall(matchers):
            if label in OF_PROMETHEUS:
                continue
            wanted = values.split("|") if operator == "=~" else [values]
            unknown += [f"{name} {label}={value}" for value in wanted if (label, value) not in metrics[name]]
    return unknown


def test_alerts_ask_for_what_the_server_has(metrics: dict[str, set[tuple[str, str]]]) -> None:
    assert {rule["alert"]: found for rule in RULES if (found := unknown_in(rule["expr"], metrics))} == {}


@pytest.mark.parametrize("path", DASHBOARDS, ids=lambda path: path.stem)
def test_dashboards_ask_for_what_the_server_has(path: Path, metrics: dict[str, set[tuple[str, str]]]) -> None:
    expressions = expressions_of_dashboard(path)
    assert len(expressions) > 10
    assert [found for expression in expressions for found in unknown_in(expression, metrics)] == []


def test_what_a_server_does_not_have_is_noticed(metrics: dict[str, set[tuple[str, str]]]) -> None:
    expression = 'seestack_nothing > 0 and seestack_requests_total{outcome=~"accepted|nothing"} and seestack_compiled'
    assert unknown_in(expression, metrics) == ["seestack_nothing", "seestack_requests_total outcome=nothing"]


def test_each_alert_is_in_the_runbook() -> None:
    headings = re.findall(r"^#+ (Seestack\w+)$", (ROOT / "docs" / "runbook.md").read_text(encoding="utf-8"), re.M)
    assert headings == [rule["alert"] for rule in RULES]
    for rule in RULES:
        assert rule["annotations"]["runbook"] == f"docs/runbook.md#{rule['alert'].lower()}"


def test_each_alert_has_a_test() -> None:
    tests = yaml.safe_load(ALERTS.with_name("alerts_test.yml").read_text(encoding="utf-8"))["tests"]
    tested = {case["alertname"] for test in tests for case in test.get("alert_rule_test", []) if case.get("exp_alerts")}
    assert tested == {rule["alert"] for rule in RULES}


def test_prometheus_takes_the_alerts_and_its_tests_pass() -> None:
    run_program("promtool", "check", "config", ALERTS.with_name("prometheus.yml"))
    run_program("promtool", "test", "rules", ALERTS.with_name("alerts_test.yml"))


def test_prometheus_takes_the_expressions_of_the_dashboards(tmp_path: Path) -> None:
    rules = [
        {
            "record": "an:expression",
            "labels": {"number": f"{path.stem} {number}"},
            "expr": expression.replace("$__rate_interval", "5m").replace("$__range", "1h"),
        }
        for path in DASHBOARDS
        for number, expression in enumerate(expressions_of_dashboard(path))
    ]
    file = tmp_path / "rules.yml"
    file.write_text(yaml.safe_dump({"groups": [{"name": "dashboards", "rules": rules}]}))
    run_program("promtool", "check", "rules", file)
