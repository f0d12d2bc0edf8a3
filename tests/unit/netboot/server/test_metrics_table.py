"""The table of figures: names as Prometheus wants them, and the page that is made of it."""

from __future__ import annotations

import inspect
import re
from pathlib import Path

import pytest

from ectools.docs.metrics_page import write_metrics_page
from ectools.netboot.boots.model import BootState, NodeStage
from ectools.netboot.http.admission import Loss
from ectools.netboot.server import metrics_table, node_reports
from ectools.netboot.server.metrics_table import (
    BOOT_STAGE_SECONDS,
    BOOTS_ENDED,
    HTTP_TURNED_AWAY,
    METRICS,
    NODES,
    REPORT_RESULTS,
    REPORTS,
    Metric,
    MetricKind,
)

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


def find_words(metric: Metric, label: str) -> set[str]:
    """The values that the table names for a label."""
    return set(re.findall(r"`([a-z-]+)`", metric.labels[label]))


def test_labels_have_the_values_that_the_program_gives_them() -> None:
    unbooted = {"unseen", "held", "disk"}
    assert find_words(NODES, "state") == {*BootState} | unbooted
    assert find_words(BOOTS_ENDED, "result") == {*BootState} - {BootState.BOOTING}
    assert find_words(BOOT_STAGE_SECONDS, "stage") == {*NodeStage} - {NodeStage.OFFER}
    assert find_words(HTTP_TURNED_AWAY, "reason") == {loss.name.lower() for loss in Loss}
    rejections = re.findall(r'_reject\(\d+, "(\w+)"', inspect.getsource(node_reports))
    assert find_words(REPORTS, "result") == {*rejections, "accepted"} == {*REPORT_RESULTS}


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
