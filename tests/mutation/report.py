"""What is printed: a block for each fault that lives, the counts, and all of it as JSON."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from .judge import Verdict

if TYPE_CHECKING:
    from collections.abc import Sequence

    from .judge import Judged
    from .mutants import Mutant


def fault_text(mutant: Mutant, before: str, after: str, *, note: str = "") -> str:
    """A fault in three lines: where and of what kind, the line that goes, the line that comes."""
    head = f"{mutant.path}:{mutant.line} {mutant.operator}{f' ({note})' if note else ''}"
    return f"{head}\n  - {before}\n  + {after}"


def survivor_text(judged: Judged) -> str:
    """A fault that no test notices."""
    note = "not covered" if judged.verdict is Verdict.NOT_COVERED else f"covered by {judged.tests} tests"
    return fault_text(judged.mutant, judged.before, judged.after, note=note)


def noticed_percent(results: Sequence[Judged]) -> float:
    """The share of faults that are noticed; 100 of none."""
    return 100 * sum(judged.verdict.is_noticed for judged in results) / len(results) if results else 100.0


def summary_text(results: Sequence[Judged]) -> str:
    """The counts, in one line."""
    counts = Counter(judged.verdict for judged in results)
    parts = ", ".join(f"{counts[verdict]} {verdict}" for verdict in Verdict if counts[verdict])
    return f"{len(results)} faults: {parts or 'nothing to do'}; {noticed_percent(results):.1f} % noticed"


def to_json(results: Sequence[Judged]) -> dict[str, Any]:
    """All results, as JSON has them."""
    return {
        "noticed_percent": round(noticed_percent(results), 1),
        "faults": [
            {
                **asdict(judged),
                "mutant": {
                    **asdict(judged.mutant),
                    "lines": [judged.mutant.lines.start, judged.mutant.lines.stop],
                },
            }
            for judged in results
        ],
    }
