"""The part that runs inside pytest: which tests, in which order, how long each took, and which failed first.

Environment: ``MUTATION_TESTS`` names a file with the ids of tests, one a line, in the order to run them
(unset: all, as collected); ``MUTATION_RESULT`` the file for the result, ``{"seconds": {id: s}, "failed":
[[id, text], …]}``; ``MUTATION_COVERAGE`` coverage's configuration for processes that tests start.
This file is copied beside the trees and imports nothing of its package.
"""

from __future__ import annotations

import json
import os
from collections import defaultdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hypothesis import Phase, settings

if TYPE_CHECKING:
    import pytest

# A fault that is found need not be made small and explained, which takes minutes.
settings.register_profile(
    "mutation", phases=(Phase.explicit, Phase.reuse, Phase.generate), database=None, deadline=None
)
settings.load_profile("mutation")

_seconds: dict[str, float] = defaultdict(float)
_failed: list[tuple[str, str]] = []


def pytest_configure() -> None:
    """Have coverage measure the Python processes that tests start; this one is pytest-cov's."""
    if config := os.environ.get("MUTATION_COVERAGE"):
        os.environ["COVERAGE_PROCESS_START"] = config


def pytest_collection_modifyitems(config: pytest.Config, items: list[Any]) -> None:
    """Keep the wanted tests, in the wanted order.

    Where a fault changes a test's parameters, all that it has now stand for the one that is wanted.
    """
    listed = os.environ.get("MUTATION_TESTS")
    if listed is None:
        return
    wanted = {name: index for index, name in enumerate(Path(listed).read_text().splitlines())}
    present = {item.nodeid for item in items}
    moved = {_function(name): index for name, index in wanted.items() if name not in present}

    places = [(wanted.get(item.nodeid, moved.get(_function(item.nodeid))), item) for item in items]
    config.hook.pytest_deselected(items=[item for place, item in places if place is None])
    kept = [(place, item) for place, item in places if place is not None]
    items[:] = [item for _, item in sorted(kept, key=lambda one: one[0])]


def _function(name: str) -> str:
    return name.partition("[")[0]


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """Count the time of a test's three parts, and remember failures."""
    _seconds[report.nodeid] += report.duration
    if report.failed:
        _failed.append((report.nodeid, report.longreprtext[-2000:]))


def pytest_collectreport(report: pytest.CollectReport) -> None:
    """Remember a file that cannot be imported."""
    if report.failed:
        _failed.append((report.nodeid, report.longreprtext[-2000:]))


def pytest_sessionfinish() -> None:
    """Write the result."""
    result = {"seconds": _seconds, "failed": _failed}
    Path(os.environ["MUTATION_RESULT"]).write_text(json.dumps(result))
