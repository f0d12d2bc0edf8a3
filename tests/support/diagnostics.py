"""What a program that serves says on standard error, in the words that a person reads on a terminal."""

from __future__ import annotations

import json


def show_errors(stderr: str) -> str:
    """The errors of a JSON log, each with its problems and its hint; lines that are none as they are."""
    shown = []
    for line in stderr.splitlines():
        try:
            record = json.loads(line)
        except ValueError:
            shown.append(line)
            continue
        if isinstance(record, dict) and record.get("level") == "error":
            shown += [record["event"], *record.get("problems", ())]
            shown += [f"  hint: {record['hint']}"] if "hint" in record else []
    return "\n".join(shown)
