"""What was found of one thing that commands need."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class FindingState(StrEnum):
    """LIMITED: the command runs, but slower or with less; MISSING: it cannot do its work."""

    OK = "ok"
    LIMITED = "limited"
    MISSING = "missing"


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One thing that ``commands`` need: what was found, and where it is not OK, how to get it."""

    name: str
    commands: tuple[str, ...]
    state: FindingState
    detail: str
    remedy: str | None = None
