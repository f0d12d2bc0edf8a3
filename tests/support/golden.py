"""Golden files: what a generator wrote, kept in ``tests/golden`` and compared byte by byte.

``pytest --update-golden`` writes them anew; ``git diff`` is then the review.
"""

from __future__ import annotations

import difflib
from pathlib import Path

DIRECTORY = Path(__file__).resolve().parent.parent / "golden"


UPDATE = False
"""Set by ``--update-golden``."""


def compare(name: str, text: str) -> None:
    """Fail unless ``text`` is what the golden file ``name`` holds."""
    path = DIRECTORY / name
    if UPDATE:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8", newline="")
    expected = path.read_text(encoding="utf-8") if path.exists() else ""
    if text != expected:
        lines = difflib.unified_diff(
            expected.splitlines(keepends=True), text.splitlines(keepends=True), f"golden/{name}", "now"
        )
        raise AssertionError("".join(lines))
