"""Figures as Prometheus reads them: text exposition format 0.0.4.

https://prometheus.io/docs/instrumenting/exposition_formats/. Written by hand: the format is a line a figure,
and prometheus_client would keep a second copy of what the server counts itself.
"""

from __future__ import annotations

from itertools import accumulate
from typing import TYPE_CHECKING

from ectools.netboot.boots.counts import SECONDS_BOUNDS

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from ectools.netboot.boots.counts import SecondsHistogram
    from ectools.netboot.server.metrics_table import Metric

_BOUNDS = (*(f"{bound:g}" for bound in SECONDS_BOUNDS), "+Inf")


def render_metric(metric: Metric, samples: Iterable[tuple[Mapping[str, str], int]]) -> str:
    """One metric with its samples, each its labels and a whole number."""
    name = metric.full_name
    lines = (f"{name}{_render_labels(labels)} {value}\n" for labels, value in samples)
    return "".join([_render_head(metric), *lines])


def render_histogram(metric: Metric, samples: Iterable[tuple[Mapping[str, str], SecondsHistogram]]) -> str:
    """One metric with a histogram for each set of labels."""
    lines = (line for labels, histogram in samples for line in _list_lines(metric, labels, histogram))
    return "".join([_render_head(metric), *lines])


def _list_lines(metric: Metric, labels: Mapping[str, str], histogram: SecondsHistogram) -> Iterator[str]:
    name, inner = metric.full_name, _join_labels(labels)
    counts = list(accumulate(histogram.buckets))
    before = f"{inner}," if inner else ""
    for bound, count in zip(_BOUNDS, counts, strict=True):
        yield f'{name}_bucket{{{before}le="{bound}"}} {count}\n'
    shown = f"{{{inner}}}" if inner else ""
    yield f"{name}_sum{shown} {histogram.total:.6g}\n{name}_count{shown} {counts[-1]}\n"


def _render_head(metric: Metric) -> str:
    return f"# HELP {metric.full_name} {metric.help}\n# TYPE {metric.full_name} {metric.kind}\n"


def _render_labels(labels: Mapping[str, str]) -> str:
    return f"{{{_join_labels(labels)}}}" if labels else ""


def _join_labels(labels: Mapping[str, str]) -> str:
    return ",".join(f'{key}="{_escape(text)}"' for key, text in labels.items())


def _escape(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
