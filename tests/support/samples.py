"""Many values of a strategy at once, for tests that hand them to one process."""

from __future__ import annotations

import functools
from typing import Any

from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st


@functools.cache
def collect(strategy: st.SearchStrategy[Any], count: int) -> list[Any]:
    """About ``count`` values, the same in each run."""
    values: list[Any] = []

    @settings(
        max_examples=count,
        database=None,
        derandomize=True,
        deadline=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(strategy)
    def draw(value: Any) -> None:
        values.append(value)

    draw()
    return values
