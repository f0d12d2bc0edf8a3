"""The corpus of broken host descriptions: each problem with its line, column, option and message."""

from __future__ import annotations

import pytest
from support.broken_hosts import JSON, OPTIONS, TOML, YAML, Case
from support.host_contract import CONTRACT

from ectools import host
from ectools.errors import ProblemsError

CASES = {
    f"{name}: {case}": text
    for name, cases in {"JSON": JSON, "YAML": YAML, "TOML": TOML, "options": OPTIONS}.items()
    for case, text in cases.items()
}


def find_problems(form: str, text: str) -> list[host.OptionProblem]:
    try:
        data = text.encode("utf-8", "surrogateescape")
        return host.validate_host(host.parse_host(data, file="host", form=host.HostFormat(form)), CONTRACT)
    except ProblemsError as error:
        return [problem for problem in error.problems if isinstance(problem, host.OptionProblem)]


def test_the_corpus_is_large() -> None:
    assert len(CASES) >= 80


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_place_and_message(case: Case) -> None:
    form, text, expected = case
    found = find_problems(form, text)
    assert [(problem.line, problem.column, problem.option) for problem in found] == [
        entry[:3] for entry in expected
    ]
    for problem, (_, _, _, words) in zip(found, expected, strict=True):
        assert words in problem.message
        assert problem.file == "host"
        assert len(problem.render()) < 2000
