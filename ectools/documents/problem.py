"""What is wrong with a host description, told as text, as JSON, and as SARIF for code review."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from ectools import __version__
from ectools.errors import UNSET, Problem
from ectools.redact import redact_value

if TYPE_CHECKING:
    from collections.abc import Iterable


class ProblemKind(StrEnum):
    """The kinds of problems; in SARIF, the rules."""

    SYNTAX = "syntax"
    UNKNOWN = "unknown-option"
    MISSING = "missing-option"
    VALUE = "wrong-value"


_RULES = {
    ProblemKind.SYNTAX: "The file is not JSON, YAML or TOML, or says what readers of its format disagree on.",
    ProblemKind.UNKNOWN: "No module has an option of this name.",
    ProblemKind.MISSING: "An option without a default is not set.",
    ProblemKind.VALUE: "The option does not take this value.",
}


@dataclass(frozen=True, kw_only=True)
class OptionProblem(Problem):
    """A problem with an option, with what the option is for and where it is declared."""

    kind: ProblemKind
    description: str | None = None
    declared_in: str | None = None

    def render(self) -> str:
        text = super().render()
        if self.description is not None:
            text += f"\n  option: {self.description}"
        if self.declared_in is not None:
            text += f"\n  declared in: {self.declared_in}"
        return text


def show_json(problem: OptionProblem) -> dict[str, Any]:
    """The problem as a JSON object; what does not apply is left out."""
    shown = {
        "file": problem.file,
        "line": problem.line,
        "column": problem.column,
        "kind": problem.kind.value,
        "option": problem.option,
        "message": problem.message,
        "expected": problem.expected,
        "hint": problem.hint,
        "description": problem.description,
        "declaredIn": problem.declared_in,
    }
    present = {name: value for name, value in shown.items() if value is not None}
    return present if problem.value is UNSET else {**present, "value": redact_value(problem.value)}


def build_sarif(problems: Iterable[OptionProblem]) -> dict[str, Any]:
    """A SARIF 2.1.0 log, as code review tools take it."""
    rules = [{"id": kind.value, "shortDescription": {"text": text}} for kind, text in _RULES.items()]
    driver = {
        "name": "ectools validate",
        "version": __version__,
        "informationUri": "https://every.channel",
        "rules": rules,
    }
    run = {
        "tool": {"driver": driver},
        "columnKind": "unicodeCodePoints",
        "results": list(map(_result, problems)),
    }
    return {
        "$schema": "https://json.schemastore.org/sarif-2.1.0.json",
        "version": "2.1.0",
        "runs": [run],
    }


def _result(problem: OptionProblem) -> dict[str, Any]:
    details = [
        f"Expected: {problem.expected}." if problem.expected else "",
        f"Hint: {problem.hint}" if problem.hint else "",
    ]
    text = " ".join([f"{problem.option}: {problem.message}.", *filter(None, details)])
    place: dict[str, Any] = {"artifactLocation": {"uri": problem.file}}
    if problem.line is not None:
        place["region"] = {"startLine": problem.line, "startColumn": problem.column or 1}
    return {
        "ruleId": problem.kind.value,
        "level": "error",
        "message": {"text": text},
        "locations": [{"physicalLocation": place}],
    }
