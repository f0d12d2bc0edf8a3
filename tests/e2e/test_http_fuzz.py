"""The boot server's HTTP against a coverage-guided fuzzer, for a bounded time."""

from __future__ import annotations

from typing import TYPE_CHECKING

from support.fuzz_http import PACKAGES, SEEDS, WORDS
from support.fuzzing import fuzz

if TYPE_CHECKING:
    from pathlib import Path


def test_no_bytes_get_more_than_is_given_or_break_the_server(tmp_path: Path) -> None:
    fuzz("support.fuzz_http:feed", packages=PACKAGES, seeds=SEEDS, words=WORDS, directory=tmp_path)
