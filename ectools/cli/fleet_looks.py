"""Looks at a boot server, again and again, which may be started anew between two of them."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, TypeVar

import click

if TYPE_CHECKING:
    from collections.abc import Callable

_T = TypeVar("_T")

_LOOK_SECONDS = 1.0


class Looks:
    """The looks of one command, for ``timeout`` seconds in all; None: without an end. No waiting: one."""

    def __init__(self, timeout: float | None = None, *, waits: bool = True) -> None:
        """Raises click.UsageError for a time, and no waiting."""
        if timeout is not None and not waits:
            raise click.UsageError("--timeout is for --wait")
        self._waits = waits
        self._end = None if timeout is None else time.monotonic() + timeout
        self._has_seen = False

    @property
    def are_over(self) -> bool:
        """Whether there is no time for a further one."""
        return not self._waits or (self._end is not None and time.monotonic() >= self._end)

    def ask(self, look: Callable[[], _T]) -> _T:
        """What ``look`` gives. A server that has answered before is waited for where it does not now.

        Raises what ``look`` raises: NoAnswerError for the first one, or when the time is over.
        """
        from ectools.netboot.api.client import NoAnswerError

        is_told = False
        while True:
            try:
                seen = look()
            except NoAnswerError as error:
                if not self._has_seen or self.are_over:
                    raise
                if not is_told:
                    click.echo(f"{error.message}; it is waited for", err=True)
                is_told = True
                self.rest()
            else:
                self._has_seen = True
                return seen

    def look_until(
        self, look: Callable[[], _T], *, is_done: Callable[[_T], bool], summarize: Callable[[_T], str]
    ) -> _T:
        """What ``look`` gives once it is done, or the time is over; on the way, a line where it is another.

        Raises as ``ask``.
        """
        told = ""
        while True:
            seen = self.ask(look)
            if is_done(seen) or self.are_over:
                return seen
            if (line := summarize(seen)) != told:
                click.echo(line, err=True)
                told = line
            self.rest()

    def rest(self) -> None:
        """Wait for the next one."""
        left = _LOOK_SECONDS if self._end is None else self._end - time.monotonic()
        time.sleep(max(0.0, min(_LOOK_SECONDS, left)))
