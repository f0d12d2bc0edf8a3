"""examples/monitoring: what Prometheus's own checker says of it, and that it names figures that there are."""

from __future__ import annotations

import functools
import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml
from support.prometheus import check_metrics, find_unknown_metrics, run_promtool

from ectools.netboot.server.metrics_table import METRICS

if TYPE_CHECKING:
    from collections.abc import Iterator

HERE = Path(__file__).resolve().parents[2] / "examples/monitoring"
DASHBOARD = json.loads((HERE / "dashboard.json").read_text())
ALERTS = [
    rule for group in yaml.safe_load((HERE / "alerts.yaml").read_text())["groups"] for rule in group["rules"]
]


def list_expressions() -> Iterator[tuple[str, str]]:
    """(panel's title, query) of the dashboard."""
    for panel in DASHBOARD["panels"]:
        for target in panel.get("targets", []):
            yield panel["title"], target["expr"]


def test_the_rules_fire_when_they_should_and_else_not() -> None:
    assert "FAILED" not in run_promtool("test", "rules", "alerts.test.yaml", directory=HERE)


def test_each_alert_is_tried_firing_and_silent() -> None:
    tried = [
        (test["alertname"], bool(test.get("exp_alerts")))
        for case in yaml.safe_load((HERE / "alerts.test.yaml").read_text())["tests"]
        for test in case["alert_rule_test"]
    ]
    assert {*tried} == {(rule["alert"], fires) for rule in ALERTS for fires in (True, False)}


@pytest.mark.parametrize("rule", ALERTS, ids=lambda rule: rule["alert"])
def test_an_alert_says_what_is_wrong_and_what_to_do(rule: dict[str, Any]) -> None:
    assert rule["labels"]["severity"] in {"info", "warning", "critical"}
    assert rule["annotations"].keys() == {"summary", "description"}
    assert find_unknown_metrics(rule["expr"]) == []


def test_prometheus_takes_the_scrape_job() -> None:
    run_promtool("check", "config", "prometheus.yaml", directory=HERE)
    (job,) = yaml.safe_load((HERE / "prometheus.yaml").read_text())["scrape_configs"]
    down = next(rule for rule in ALERTS if rule["alert"] == "NetbootServerDown")
    assert f'job="{job["job_name"]}"' in down["expr"]
    assert f'job="{job["job_name"]}"' in "".join(query for _, query in list_expressions())
    assert f'job_name = "{job["job_name"]}"' in (HERE / "nixos.nix").read_text()


def test_the_dashboards_queries_are_queries(tmp_path: Path) -> None:
    values = {"$__rate_interval": "5m", "$instance": ".*", "$group": ".*"}
    rules = []
    for number, (title, query) in enumerate(list_expressions()):
        filled = functools.reduce(lambda text, pair: text.replace(*pair), values.items(), query)
        assert "$" not in filled, title
        rules.append({"record": f"panel:{number}", "expr": filled})
    file = tmp_path / "rules.yaml"
    file.write_text(json.dumps({"groups": [{"name": "dashboard", "rules": rules}]}))
    assert f"{len(rules)} rules found" in run_promtool("check", "rules", file)


def test_the_dashboard_names_what_there_is_and_leaves_little_out() -> None:
    text = json.dumps(DASHBOARD)
    assert find_unknown_metrics(text) == []
    named = text + json.dumps(ALERTS)
    # Of use in a query, or a count of what another figure tells better.
    left_out = {"node_info", "node_info_left_out", "release_systems", "http_accepted_total", "boots_total"}
    left_out |= {"boots_begun_total", "tftp_sent_total", "dnsmasq_lines_lost_total", "state_boots_unwritten"}
    left_out |= {"state_calls_total", "tftp_failed_total"}
    assert {m.name for m in METRICS if not re.search(rf"{m.full_name}(_bucket)?\b", named)} == left_out


def test_the_dashboard_is_of_no_machine_in_particular() -> None:
    panels = DASHBOARD["panels"]
    sources = [
        each["datasource"]
        for panel in panels
        for each in (panel, *panel.get("targets", []))
        if "datasource" in each
    ]
    assert {json.dumps(each) for each in sources} == {'{"type": "prometheus", "uid": "${datasource}"}'}
    assert DASHBOARD["schemaVersion"] >= 41
    assert "id" not in DASHBOARD
    assert len({panel["id"] for panel in panels}) == len(panels)
    variables = {each["name"] for each in DASHBOARD["templating"]["list"]}
    assert variables == {"datasource", "instance", "group"}


def test_panels_do_not_overlap() -> None:
    taken: dict[tuple[int, int], str] = {}
    for panel in DASHBOARD["panels"]:
        place = panel["gridPos"]
        assert place["x"] + place["w"] <= 24
        for x in range(place["x"], place["x"] + place["w"]):
            for y in range(place["y"], place["y"] + place["h"]):
                assert taken.setdefault((x, y), panel["title"]) == panel["title"]


def test_the_checker_is_one() -> None:
    with pytest.raises(AssertionError):
        check_metrics("# TYPE some_count counter\nsome_count 1\n")
