"""Figures as text: labels, histograms, and what each line begins with."""

from __future__ import annotations

import pytest

from ectools.netboot.boots.counts import SECONDS_BOUNDS, SecondsHistogram
from ectools.netboot.server.metrics_table import Metric, MetricKind
from ectools.netboot.server.metrics_text import render_histogram, render_metric

SOME = Metric(name="some_total", kind=MetricKind.COUNTER, help="Some.")
SECONDS = Metric(name="some_seconds", kind=MetricKind.HISTOGRAM, help="Seconds.")


@pytest.mark.parametrize(
    ("text", "escaped"), [("a", "a"), ('"', '\\"'), ("\\", "\\\\"), ("\n", "\\n"), ('\\"', '\\\\\\"')]
)
def test_labels_are_escaped(text: str, escaped: str) -> None:
    assert render_metric(SOME, [({"a": text, "b": "c"}, 5)]) == (
        "# HELP every_channel_netboot_some_total Some.\n"
        "# TYPE every_channel_netboot_some_total counter\n"
        f'every_channel_netboot_some_total{{a="{escaped}",b="c"}} 5\n'
    )


def test_without_labels_there_are_no_braces() -> None:
    assert render_metric(SOME, [({}, 5)]).endswith("\nevery_channel_netboot_some_total 5\n")


def make_histogram(*seconds: float) -> SecondsHistogram:
    histogram = SecondsHistogram()
    for each in seconds:
        histogram.observe(each)
    return histogram


def test_a_bucket_counts_those_below_it_too() -> None:
    text = render_histogram(SECONDS, [({"group": 'a"b'}, make_histogram(0.05, 0.2, 2000.0))])
    head, kind, *lines = text.splitlines()
    assert head == "# HELP every_channel_netboot_some_seconds Seconds."
    assert kind == "# TYPE every_channel_netboot_some_seconds histogram"
    labels = 'group="a\\"b"'
    bounds = [f"{bound:g}" for bound in SECONDS_BOUNDS]
    counts = [1, *(2 for _ in bounds[1:]), 3]
    assert lines == [
        *(
            f'every_channel_netboot_some_seconds_bucket{{{labels},le="{bound}"}} {count}'
            for bound, count in zip([*bounds, "+Inf"], counts, strict=True)
        ),
        f"every_channel_netboot_some_seconds_sum{{{labels}}} 2000.25",
        f"every_channel_netboot_some_seconds_count{{{labels}}} 3",
    ]


def test_a_histogram_without_labels() -> None:
    lines = render_histogram(SECONDS, [({}, make_histogram(1.0))]).splitlines()
    assert lines[2] == 'every_channel_netboot_some_seconds_bucket{le="0.1"} 0'
    assert lines[-2:] == [
        "every_channel_netboot_some_seconds_sum 1",
        "every_channel_netboot_some_seconds_count 1",
    ]
