"""Prometheus's own checker, and PromQL as far as tests look into it."""

from __future__ import annotations

import re
import shutil
import subprocess
from typing import TYPE_CHECKING

from support.needs import give_up, require_tool

from ectools.demo.debian_suite import find_suite_tree
from ectools.errors import EcError
from ectools.netboot.server.metrics_table import METRIC_PREFIX, METRICS, MetricKind

if TYPE_CHECKING:
    from pathlib import Path

_NAME = re.compile(rf"{METRIC_PREFIX}_\w+")
_PARTS = ("_bucket", "_sum", "_count")


def find_promtool() -> str:
    """promtool on PATH, or Debian's from the cache. The package is unpacked and not installed: that would
    start a server, on a port that the boot server's tests and its users have other uses for.
    """
    if found := shutil.which("promtool"):
        return found
    require_tool("apt-get", "install promtool (Debian: prometheus)")
    try:
        tree = find_suite_tree("bookworm", "prometheus", ("prometheus",))
    except EcError as error:
        give_up(f"promtool cannot be had from Debian: {error.message}")
    return str(tree / "usr/bin/promtool")


def run_promtool(*arguments: str | Path, text: str = "", directory: Path | None = None) -> str:
    """What it prints, on both streams; ``text`` is its standard input. It must not complain."""
    argv = [find_promtool(), *map(str, arguments)]
    done = subprocess.run(
        argv,
        input=text,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        cwd=directory,
        check=False,
        timeout=120,
    )
    assert done.returncode == 0, f"{argv}:\n{done.stdout}"
    return done.stdout


def check_metrics(text: str) -> None:
    """Raises AssertionError where promtool has something to say of an answer of ``/metrics``."""
    assert run_promtool("check", "metrics", text=text) == ""


def find_unknown_metrics(text: str) -> list[str]:
    """The boot server's metrics that ``text`` names, and that are not in the table as they are named."""
    known = {metric.full_name for metric in METRICS if metric.kind is not MetricKind.HISTOGRAM}
    known |= {
        metric.full_name + part
        for metric in METRICS
        if metric.kind is MetricKind.HISTOGRAM
        for part in _PARTS
    }
    return sorted({*_NAME.findall(text)} - known)
