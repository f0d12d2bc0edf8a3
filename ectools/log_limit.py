"""A limit for another program's lines in the log: two token buckets, of lines and of bytes.

Who controls a guest, or can send packets to dnsmasq, decides how much these write. journald's own limit
(RateLimitBurst= of journald.conf(5)) counts entries of the whole unit, and drops this program's with them.
"""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ectools import log

if TYPE_CHECKING:
    from collections.abc import Callable

_log = log.Log(__name__)

_REPORT_SECONDS = 60.0


@dataclass(frozen=True, kw_only=True)
class LogRate:
    """The sizes of the buckets (the burst), and their refill a second.

    The default lets a guest's boot through that says all it can (2,000 to 5,000 lines), and comes to about
    350 MB of text and 860,000 lines a day.
    """

    burst_lines: int = 10_000
    burst_bytes: int = 1 << 20
    lines_per_second: float = 10.0
    bytes_per_second: float = 4096.0


class LogLimit:
    """The limit of one output; ``source`` names it in the log: ``console``.

    What is left out is reported at once, then once a minute, with how many lines and bytes it was meanwhile.
    ``clock`` gives seconds that only grow.
    """

    def __init__(
        self,
        source: str,
        *,
        rate: LogRate | None = None,
        clock: Callable[[], float] = time.monotonic,
        report_seconds: float = _REPORT_SECONDS,
    ) -> None:
        self._source = source
        self._rate = rate or LogRate()
        self._clock = clock
        self._report_seconds = report_seconds
        self._lines = float(self._rate.burst_lines)
        self._bytes = float(self._rate.burst_bytes)
        self._filled = clock()
        self._lines_left_out = 0
        self._bytes_left_out = 0
        self._timer: asyncio.TimerHandle | None = None

    def take(self, size: int) -> bool:
        """Whether the log takes a line of ``size`` bytes now. Runs on an event loop's thread."""
        self._fill()
        if self._lines >= 1 and self._bytes >= size:
            self._lines -= 1
            self._bytes -= size
            return True
        self._lines_left_out += 1
        self._bytes_left_out += size
        if self._timer is None:
            self._report()
        return False

    def close(self) -> None:
        """The output has ended: what was left out since the last report is reported."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._write_report()

    def _fill(self) -> None:
        now = self._clock()
        passed, self._filled = now - self._filled, now
        rate = self._rate
        self._lines = min(rate.burst_lines, self._lines + passed * rate.lines_per_second)
        self._bytes = min(rate.burst_bytes, self._bytes + passed * rate.bytes_per_second)

    def _report(self) -> None:
        """Report now and, where lines were left out meanwhile, in a minute: a flood's end is reported too."""
        self._timer = None
        if self._lines_left_out:
            self._timer = asyncio.get_running_loop().call_later(self._report_seconds, self._report)
            self._write_report()

    def _write_report(self) -> None:
        if self._lines_left_out:
            _log.warning(
                "lines left out of the log: more was written than it takes",
                source=self._source,
                lines=self._lines_left_out,
                bytes=self._bytes_left_out,
            )
            self._lines_left_out = self._bytes_left_out = 0
