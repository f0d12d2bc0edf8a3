"""The policy of retries: how often a request is made again, and how long is waited in between."""

from __future__ import annotations

import email.utils
import random
import time
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class RetryPolicy:
    """How often and how patiently a server is asked; times are in seconds.

    ``attempts`` are in a row: a download that got on starts to count anew. Between two of them the wait
    doubles from ``first_wait`` up to ``longest_wait``, give or take a quarter; Retry-After goes before that,
    up to ``longest_retry_after``. A server that sends nothing for ``stall_seconds``, or less than
    ``least_rate`` bytes a second in that time, is given up.
    """

    attempts: int = 6
    first_wait: float = 1.0
    longest_wait: float = 60.0
    longest_retry_after: float = 300.0
    connect_seconds: float = 20.0
    stall_seconds: float = 60.0
    least_rate: int = 1024

    def next_pause(self, failures: int, retry_after: float | None) -> float:
        """Seconds to wait after so many failures in a row; ``retry_after`` is what the server asked for."""
        if retry_after is not None:
            return min(retry_after, self.longest_retry_after)
        wait = min(self.first_wait * 2.0 ** (failures - 1), self.longest_wait)
        return wait * random.uniform(0.75, 1.25)  # noqa: S311 - spreads load; nothing depends on it


def parse_retry_after(value: str | None) -> float | None:
    """Seconds from now, of a number or a date (RFC 9110, section 10.2.3); None where there is neither."""
    if value is None:
        return None
    if value.strip().isascii() and value.strip().isdigit():
        return float(value)
    try:
        return max(email.utils.parsedate_to_datetime(value).timestamp() - time.time(), 0.0)
    except (ValueError, OverflowError):
        return None
