"""How a failed evaluation reads, for people and for programs; and which nixpkgs a question means."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from ectools.checks.evaluation import (
    EvaluationRequest,
    FailedEvaluationError,
    evaluate_attributes,
    evaluate_request,
    find_unwritable,
)
from ectools.errors import InputError
from pynix_eval_shim import (
    Attribute,
    EvaluationError,
    FetchFailedError,
    Frame,
    MissingAttributeError,
    NixError,
    PurityError,
    Report,
)


def test_the_place_its_line_and_the_trace(tmp_path: Path) -> None:
    file = tmp_path / "host.nix"
    file.write_text("{\n\tport = cfg.prot;\n}\n")
    trace = (
        Frame(message="while evaluating the attribute 'port'", file=str(file), line=2, column=2),
        Frame(message="from call site"),
    )
    error = MissingAttributeError(
        "attribute 'prot' missing", report=Report(file=str(file), line=2, column=9, trace=trace)
    )
    assert FailedEvaluationError(error).render().splitlines() == [
        "missing attribute: attribute 'prot' missing",
        f"  at {file}:2:9",
        "      2 |  port = cfg.prot;",
        "        |         ^",
        f"  … while evaluating the attribute 'port'  ({file}:2:2)",
        "  … from call site",
    ]


@pytest.mark.parametrize(("line", "column"), [(7, 1), (None, None), (1, None)])
def test_a_place_that_is_not_in_the_source(line: int | None, column: int | None) -> None:
    error = EvaluationError("odd", report=Report(file="«string»", line=line, column=column))
    text = FailedEvaluationError(error, source="1 + x").render()
    assert text.startswith("evaluation: odd\n  at «string»")
    assert "^" not in text
    assert ("1 + x" in text) == (line == 1)


def test_a_long_trace_is_cut_for_people_and_whole_for_programs() -> None:
    trace = tuple(Frame(message=f"frame {number}") for number in range(40))
    failed = FailedEvaluationError(EvaluationError("deep", report=Report(trace=trace)))
    lines = failed.render().splitlines()
    assert len(lines) < 20
    assert "28 frames more" in lines[-1]
    assert len(failed.show_json()["trace"]) == 40


def test_as_an_object() -> None:
    error = NixError("no", report=Report(file="/f.nix", line=3, column=4), hint="do this")
    assert FailedEvaluationError(error).show_json() == {
        "class": "NixError",
        "message": "no",
        "file": "/f.nix",
        "line": 3,
        "column": 4,
        "trace": [],
        "hint": "do this",
    }


def test_what_can_be_done_about_it_is_said() -> None:
    assert "--impure" in FailedEvaluationError(PurityError("no")).render()
    assert "--nixpkgs" in FailedEvaluationError(FetchFailedError("no")).render()


def test_infinities_are_found_where_they_are() -> None:
    assert find_unwritable({"a": [1, {"b": 2.0}], "c": None}) is None
    assert find_unwritable({"a": [1, {"b": float("inf")}]}) == "the value.a[1].b"


def test_each_attribute_with_its_value_or_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    def each(expression: str, *, on_attribute: Any, **arguments: Any) -> None:
        assert arguments["limits"].memory_bytes == 5 << 20
        on_attribute(Attribute(name="a", value=1))
        on_attribute(
            Attribute(name="b", error=EvaluationError("odd", report=Report(file="«string»", line=1)))
        )
        if expression == "worse":
            raise NixError("no set")

    monkeypatch.setattr("pynix_eval_shim.evaluate_each", each)
    found: list[tuple[str, Any, str | None]] = []

    def take(name: str, value: Any, failure: FailedEvaluationError | None) -> None:
        found.append((name, value, None if failure is None else failure.render()))

    evaluate_attributes(EvaluationRequest(expression="text", memory_mib=5), on_attribute=take)
    assert found == [("a", 1, None), ("b", None, "evaluation: odd\n  at «string»:1\n      1 | text")]
    with pytest.raises(FailedEvaluationError, match="no set"):
        evaluate_attributes(EvaluationRequest(expression="worse", memory_mib=5), on_attribute=take)


def test_what_is_named_must_be_there(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="not a nixpkgs tree"):
        evaluate_request(EvaluationRequest(flake=".#x", nixpkgs=str(tmp_path)))
    with pytest.raises(InputError, match="no such file"):
        evaluate_request(EvaluationRequest(file=tmp_path / "none.nix"))
