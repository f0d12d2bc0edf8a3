"""The table of figures: names as Prometheus wants them, and the page that is made of it."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from ectools.docs.metrics_page import write_metrics_page
from ectools.netboot.server import metrics_table
from ectools.netboot.server.metrics_table import METRICS, Metric, MetricKind

ROOT = Path(__file__).resolve().parents[4]


def test_every_metric_is_in_one_section() -> None:
    defined = [each for each in vars(metrics_table).values() if isinstance(each, Metric)]
    assert sorted(defined, key=lambda each: each.name) == sorted(METRICS, key=lambda each: each.name)
    assert len({metric.name for metric in METRICS}) == len(METRICS)


@pytest.mark.parametrize("metric", METRICS, ids=lambda metric: metric.name)
def test_names_and_words(metric: Metric) -> None:
    assert re.fullmatch(r"every_channel_netboot(_[a-z]+)+", metric.full_name)
    assert (metric.kind is MetricKind.COUNTER) == metric.name.endswith("_total")
    assert metric.kind is not MetricKind.HISTOGRAM or metric.name.endswith("_seconds")
    assert metric.help.endswith(".")
    # One line, and a cell of a table.
    for text in (metric.help, *metric.labels.values()):
        assert text.isascii()
        assert not {"\n", "\\", "|"} & {*text}
    # A histogram's own label, and Prometheus's.
    assert not {"le", "job", "instance"} & metric.labels.keys()


def test_the_page_is_what_the_table_says() -> None:
    page = write_metrics_page()
    assert (ROOT / "docs/METRICS.md").read_text() == page, "ectools docs metrics -o docs/METRICS.md"
    assert [metric.full_name for metric in METRICS] == re.findall(r"(?m)^\| `([a-z_]+)` \|", page)
    for metric in METRICS:
        (row,) = (line for line in page.splitlines() if line.startswith(f"| `{metric.full_name}` |"))
        assert f"| {metric.kind} |" in row
        assert row.endswith(f"| {metric.help} |")
        assert all(f"`{name}`: {words}" in row for name, words in metric.labels.items())
        assert bool(metric.labels) != ("| none |" in row)
