"""What is logged, as JSON lines, for a test that looks at it."""

from __future__ import annotations

import io
import json
from typing import Any

from ectools import log


class LogLines:
    """The log from now on. A unit test's ends with it (``fresh_log``)."""

    def __init__(self) -> None:
        self.stream = io.StringIO()
        log.set_up(json_lines=True, stream=self.stream)

    @property
    def text(self) -> str:
        return self.stream.getvalue()

    def all(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.text.splitlines()]

    def having(self, word: str) -> list[dict[str, Any]]:
        """Those whose event holds a word."""
        return [line for line in self.all() if word in line["event"]]
