"""What of an error of Nix is kept, and where in a dump broken options stand."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ectools.options.causes import Cause, Step, find_broken, find_cause, find_notes
from ectools.options.dump import Dump, Tree
from pynix_eval_shim import Frame, NixError, Report

LIBRARY = Path("/checkout/nix/lib")


def error(message: str, *frames: Frame, file: str | None = "/x.nix", line: int | None = 3) -> NixError:
    return NixError(message, report=Report(file=file, line=line, trace=frames))


def test_broken_options_within_types_of_others_are_found() -> None:
    def option(name: str, **more: Any) -> dict[str, Any]:
        return {"path": [name], "id": name, "broken": ["default"], **more}

    inner = {"name": "own", "nested": {"a": {"options": [option("deep")]}}}
    types = {"name": "dagOf", "inside": {"wrap": [], "options": [option("below", type=inner)]}}
    tree = Tree("t", (), [{"path": ["x"], "type": types}])
    found = find_broken(Dump(empty_is_default=False, roots=(), trees=(tree,)))
    assert [(each.id, each.index) for each in found] == [("below", 0), ("deep", 0)]


def test_a_message_is_one_line_and_has_an_end() -> None:
    assert find_cause(error("a\n  b"), library=LIBRARY) == Cause(Step("a b", "/x.nix", 3))
    long = find_cause(error("x" * 400), library=LIBRARY).error.message
    assert len(long) == 300
    assert long.endswith("x…")


def test_a_trace_ends_where_the_export_looked_and_skips_what_has_no_place() -> None:
    frames = [
        Frame(message="inner", file="/x.nix", line=3),
        Frame(message="from call site"),
        Frame(message="outer\nlines", file="/y.nix", line=4),
        Frame(message="looked", file="/checkout/nix/lib/options.nix", line=1),
        Frame(message="imap", file="/nixpkgs/lib/lists.nix", line=5),
    ]
    cause = find_cause(error("m", *frames), library=LIBRARY)
    assert cause.trace == (Step("inner", "/x.nix", 3), Step("outer lines", "/y.nix", 4))
    many = [Frame(message=str(number), file="/x.nix", line=number) for number in range(9)]
    assert [step.message for step in find_cause(error("m", *many), library=LIBRARY).trace] == [
        "0",
        "1",
        "2",
        "3",
    ]


def test_an_error_within_the_export_has_no_place_of_the_users() -> None:
    inside = error("m", file="/checkout/nix/lib/value.nix")
    assert find_cause(inside, library=LIBRARY).error == Step("m")
    assert find_cause(error("m", file=None, line=None), library=LIBRARY).error == Step("m")


def test_broken_options_are_found_within_types_and_not_within_values() -> None:
    inner = {"path": ["i"], "id": "b.<name>.i", "broken": ["default"]}
    decoy = {"set": {"type": {"broken": ["default"], "id": "decoy"}}}
    options: list[dict[str, Any]] = [
        {"path": ["a"], "default": {"value": decoy}, "broken": []},
        {
            "path": ["b"],
            "id": "b",
            "broken": ["example"],
            "type": {"name": "attrsOf", "elem": {"name": "submodule", "options": [inner]}},
        },
    ]
    dump = Dump(empty_is_default=True, roots=(), trees=(Tree("t", (), options),))
    broken = find_broken(dump)
    assert [(each.id, each.parts, each.index) for each in broken] == [
        ("b", ("example",), 1),
        ("b.<name>.i", ("default",), 1),
    ]
    cause = Cause(Step("m"))
    for each in broken:
        each.note({("b.<name>.i", "default"): cause, ("b", "default"): cause})
    assert inner["causes"] == {"default": cause}
    assert "causes" not in options[1]


def test_notes_are_the_steps_without_a_place_each_once_and_not_ours() -> None:
    frames = [
        Frame(message="from call site"),
        Frame(message="while evaluating the attribute 'x'", file="/x.nix", line=3),
        Frame(message="definitions for\n`a'"),
        Frame(message='ectools-0123456789abcdef:["a","type"]'),
        Frame(message="definitions for `a'"),
        *(Frame(message=f"note {number}") for number in range(9)),
    ]
    assert find_notes(error("m", *frames)) == (
        "definitions for `a'",
        *(f"note {number}" for number in range(7)),
    )
