"""docs/METRICS.md: the boot server's figures, in Markdown, from the table that they are rendered by."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ectools.netboot.boots.counts import MAX_GROUPS, SECONDS_BOUNDS
from ectools.netboot.server.metrics_table import MAX_NODE_SERIES, MAX_RELEASES, METRIC_SECTIONS

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from ectools.netboot.server.metrics_table import Metric

_BOUNDS = ", ".join(f"{bound:g}" for bound in SECONDS_BOUNDS)
_INTRODUCTION = f"""\
# Metrics

Written by `ectools docs metrics -o docs/METRICS.md`, from the table that the boot server renders them by.

`http://ADDRESS/metrics`, at the address of `services.every-channel.netboot.fleet.listen`, answers in
Prometheus's text format. A dashboard and alert rules that use them are in
[`examples/monitoring`](../examples/monitoring/README.md).

Counters begin at zero with each start of the boot server; what is known of nodes and their boots survives it.
The histograms' bounds are {_BOUNDS} seconds.

How many series there are does not depend on what clients send. Groups are told apart up to {MAX_GROUPS},
releases up to {MAX_RELEASES}; no series is labelled by a node but `node_info`, of which there are
{MAX_NODE_SERIES:,} at most: which node it is that has failed is on the page, and in `ectools fleet status`.
"""


def write_metrics_page() -> str:
    """The whole page: a section for each part of the server, a row for each metric."""
    return _INTRODUCTION + "".join(_write_section(*section) for section in METRIC_SECTIONS.items())


def _write_section(title: str, metrics: Sequence[Metric]) -> str:
    head = f"\n## {title}\n\n| metric | kind | labels | what it is |\n|---|---|---|---|\n"
    return head + "".join(_list_rows(metrics))


def _list_rows(metrics: Sequence[Metric]) -> Iterator[str]:
    for metric in metrics:
        labels = "<br>".join(f"`{name}`: {words}" for name, words in metric.labels.items())
        yield f"| `{metric.full_name}` | {metric.kind} | {labels or 'none'} | {metric.help} |\n"
