"""JUnit XML, as test reporters read it (https://github.com/testmoapp/junitxml).

Written by hand, because the standard library's writer lets characters through that XML 1.0 cannot carry.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING
from xml.sax.saxutils import escape, quoteattr

if TYPE_CHECKING:
    from collections.abc import Sequence


@dataclass(frozen=True, kw_only=True)
class Case:
    """One test case; at most one of ``failure``, ``error`` and ``skipped`` says why it did not pass."""

    group: str
    name: str
    seconds: float | None = None
    failure: str | None = None
    error: str | None = None
    skipped: str | None = None
    output: str = ""


@dataclass(frozen=True, kw_only=True)
class Suite:
    """Cases under one name."""

    name: str
    cases: Sequence[Case]


def write(suites: Sequence[Suite]) -> str:
    """The whole document, without a newline at its end."""
    total = _count([case for suite in suites for case in suite.cases])
    lines = ['<?xml version="1.0" encoding="UTF-8"?>', f"<testsuites{_attributes(total)}>"]
    for suite in suites:
        lines.append(f"  <testsuite{_attributes({'name': suite.name, **_count(suite.cases)})}>")
        for case in suite.cases:
            lines += _write_case(case)
        lines.append("  </testsuite>")
    return "\n".join([*lines, "</testsuites>"])


def _count(cases: Sequence[Case]) -> dict[str, str | None]:
    return {
        "tests": str(len(cases)),
        "failures": str(sum(case.failure is not None for case in cases)),
        "errors": str(sum(case.error is not None for case in cases)),
        "skipped": str(sum(case.skipped is not None for case in cases)),
    }


def _write_case(case: Case) -> list[str]:
    time = None if case.seconds is None else f"{case.seconds:.3f}"
    head = f"    <testcase{_attributes({'classname': case.group, 'name': case.name, 'time': time})}"
    body = [
        f"      <{tag}{_attributes({'message': message})}/>"
        for tag, message in (("failure", case.failure), ("error", case.error), ("skipped", case.skipped))
        if message is not None
    ]
    if case.output:
        body.append(f"      <system-out>{escape(_printable(case.output))}</system-out>")
    return [f"{head}>", *body, "    </testcase>"] if body else [f"{head}/>"]


def _attributes(values: dict[str, str | None]) -> str:
    return "".join(
        f" {name}={quoteattr(_printable(value), {chr(10): '&#10;', chr(9): '&#9;'})}"
        for name, value in values.items()
        if value is not None
    )


def _printable(text: str) -> str:
    """Without what XML 1.0 cannot carry at all (https://www.w3.org/TR/xml/#charsets)."""
    return "".join(char if _is_printable(ord(char)) else "\ufffd" for char in text)


def _is_printable(code: int) -> bool:
    if code < 0x20:
        return code in (0x9, 0xA)
    return not 0xD800 <= code <= 0xDFFF and code not in (0xFFFE, 0xFFFF)
