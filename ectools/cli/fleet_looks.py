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
    """The looks of one command, for ``timeout`` seconds in all; None: without an end."""

    def __init__(self, timeout: float | None = None) -> None:
        self._end = None if timeout is None else time.monotonic() + timeout
        self._has_seen = False

    @property
    def are_over(self) -> bool:
        """Whether there is no time for a further one."""
        return self._end is not None and time.monotonic() >= self._end

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

    def rest(self) -> None:
        """Wait for the next one."""
        left = _LOOK_SECONDS if self._end is None else self._end - time.monotonic()
        time.sleep(max(0.0, min(_LOOK_SECONDS, left)))
