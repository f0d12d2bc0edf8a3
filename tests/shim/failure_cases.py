"""One table of ways to fail, run on every nix that is here and replayed from what nix said once (recorded/).

A position is (file's name, line, column); ``STRING`` is code passed as text. Where versions differ, only what
all of them give is asked for.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pynix_eval_shim as shim

FLAKE = Path(__file__).parent / "flake"
STRING = "«string»"
REFERENCE = f"path:{FLAKE}"

FORGED = """throw "undefined variable 'x'" """
DERIVATION = """derivation {
  name = "imported"; system = "%s"; builder = "/bin/sh"; args = [ "-c" "echo '\\"built\\"' > $out" ];
}"""
IMPORT_FROM_DERIVATION = "system: import (%s)" % DERIVATION.replace('"%s"', "system")  # noqa: UP031  (it is full of braces)


@dataclass(frozen=True, kw_only=True)
class Case:
    """A call and the error that must come of it. ``says`` stands in the message, ``fields`` on the error."""

    name: str
    error: type[shim.NixError]
    arguments: dict[str, Any]
    call: str = "evaluate"
    says: str = ""
    at: tuple[str, int, int] | None = None
    fields: dict[str, Any] = field(default_factory=dict)


def _evaluation(name: str, error: type[shim.NixError], expression: str, **more: Any) -> Case:
    arguments = {"expression": expression, **more.pop("arguments", {})}
    return Case(name=name, error=error, arguments=arguments, **more)


def _build(name: str, error: type[shim.NixError], **more: Any) -> Case:
    return Case(
        name=name, error=error, call="build", arguments={"installable": f"{REFERENCE}#{name}"}, **more
    )


EVALUATIONS = (
    _evaluation("syntax", shim.NixSyntaxError, "{ a = 1 + ; }", says="syntax error", at=(STRING, 1, 11)),
    _evaluation(
        "syntax-on-a-later-line", shim.NixSyntaxError, "{\n  a = ;\n}", says="syntax error", at=(STRING, 2, 7)
    ),
    _evaluation("brackets-end-early", shim.NixSyntaxError, "1) (2", says="syntax error", at=(STRING, 1, 2)),
    _evaluation("empty", shim.NixSyntaxError, "", says="unexpected end of file", at=(STRING, 1, 1)),
    _evaluation(
        "defined-twice", shim.NixSyntaxError, "{ a = 1; a = 2; }", says="already defined", at=(STRING, 1, 10)
    ),
    _evaluation(
        "undefined-variable", shim.UndefinedVariableError, "[ nope ]", says="'nope'", at=(STRING, 1, 3)
    ),
    _evaluation("thrown", shim.ThrownError, '{ a = throw "no ${"way"}"; }', says="no way"),
    _evaluation("thrown-forging", shim.ThrownError, FORGED, says="undefined variable 'x'"),
    _evaluation(
        "thrown-in-colour", shim.ThrownError, 'throw (builtins.fromJSON "\\"\\\\u001b[31mred\\"")', says="red"
    ),
    _evaluation("aborted", shim.AbortedError, 'abort "over"', says="over"),
    _evaluation("assertion", shim.AssertionFailedError, "let x = 2; in\nassert x == 1; x", at=(STRING, 2, 1)),
    _evaluation(
        "assertion-of-a-call", shim.AssertionFailedError, "assert builtins.isInt null; 1", at=(STRING, 1, 1)
    ),
    _evaluation(
        "missing-attribute",
        shim.MissingAttributeError,
        "let s = { a = 1; }; in s.b",
        says="'b'",
        at=(STRING, 1, 24),
    ),
    _evaluation("missing-for-getAttr", shim.MissingAttributeError, 'builtins.getAttr "b" { }', says="'b'"),
    _evaluation("wrong-type-in-addition", shim.WrongTypeError, '1 + "a"', says="a string", at=(STRING, 1, 5)),
    _evaluation("wrong-type-for-a-builtin", shim.WrongTypeError, "builtins.head 1", says="an integer"),
    _evaluation("not-a-function", shim.WrongTypeError, "1 2", says="not a function", at=(STRING, 1, 1)),
    _evaluation("missing-argument", shim.WrongTypeError, "({ a }: a) { }", says="required argument 'a'"),
    _evaluation("surplus-argument", shim.WrongTypeError, "({ a }: a) { a = 1; b = 2; }", says="argument 'b'"),
    _evaluation("not-a-string", shim.WrongTypeError, '"${{ }}"', says="cannot coerce a set"),
    _evaluation("not-comparable", shim.WrongTypeError, '1 < "a"', says="cannot compare"),
    _evaluation(
        "function-as-result", shim.WrongTypeError, "{ f = x: x; }", says="a function", at=(STRING, 1, 7)
    ),
    _evaluation(
        "data-for-no-function", shim.WrongTypeError, "{ }", says="not a function", arguments={"data": 1}
    ),
    _evaluation("infinite-recursion", shim.InfiniteRecursionError, "let x = x; in x", at=(STRING, 1, 9)),
    _evaluation(
        "calls-without-end", shim.StackOverflowError, "let f = n: 1 + f n; in f 1", says="stack overflow"
    ),
    _evaluation("data-without-end", shim.StackOverflowError, "let a = [ a ]; in a", says="stack overflow"),
    _evaluation("file-when-pure", shim.PurityError, "builtins.readFile /etc/hostname", says="forbidden"),
    _evaluation("search-path-when-pure", shim.PurityError, "<nixpkgs>", says="<nixpkgs>"),
    _evaluation(
        "import-from-derivation",
        shim.ImportFromDerivationError,
        IMPORT_FROM_DERIVATION,
        arguments={"data": "x86_64-linux"},
    ),
    _evaluation(
        "no-such-file",
        shim.NoSuchFileError,
        "import /no/such/file",
        arguments={"impure": True},
        says="/no/such/file",
    ),
    _evaluation("bad-json", shim.EvaluationError, 'builtins.fromJSON "{"', says="parse error"),
    _evaluation(
        "apply-lacks-attribute",
        shim.MissingAttributeError,
        "{ a = 1; }",
        arguments={"apply": "set:\n  set.b"},
        says="'b'",
        at=(STRING, 2, 3),
    ),
    _evaluation(
        "long-code",
        shim.MissingAttributeError,
        f"{' ' * 100_000}\n\n  {{ }}.a",
        says="'a'",
        at=(STRING, 3, 3),
    ),
    _evaluation("long-code-ends-early", shim.NixSyntaxError, f"{' ' * 100_000}\n1 +", at=(STRING, 3, 1)),
    _evaluation(
        "memory",
        shim.OutOfMemoryError,
        "builtins.length (map toString (builtins.genList (n: n) 100000000))",
        arguments={"limits": shim.Limits(memory_bytes=500 << 20)},
    ),
    Case(
        name="file-with-syntax-error",
        error=shim.NixSyntaxError,
        arguments={"file": FLAKE / "broken.txt"},
        says="syntax error",
        at=("broken.txt", 3, 1),
    ),
    Case(
        name="file-throws",
        error=shim.ThrownError,
        arguments={"file": FLAKE / "throws.nix", "data": {"name": "${x}"}},
        says="no greeting for ${x}",
    ),
    Case(
        name="flake-throws",
        error=shim.ThrownError,
        arguments={"installable": f"{REFERENCE}#lib.thrown"},
        says="thrown by the flake",
    ),
    Case(
        name="flake-lacks-attribute",
        error=shim.MissingAttributeError,
        arguments={"installable": f"{REFERENCE}#lib.nope"},
        says="lib.nope",
    ),
    Case(
        name="flake-apply-lacks-attribute",
        error=shim.MissingAttributeError,
        arguments={"installable": f"{REFERENCE}#lib", "apply": "lib:\nlib.value.nope"},
        says="'nope'",
        at=(STRING, 2, 1),
    ),
    Case(
        name="parse-syntax",
        error=shim.NixSyntaxError,
        call="parse",
        arguments={"expression": "x: {\n  y = ;\n}"},
        at=(STRING, 2, 7),
    ),
    Case(
        name="parse-undefined-variable",
        error=shim.UndefinedVariableError,
        call="parse",
        arguments={"expression": "x: y"},
        says="'y'",
        at=(STRING, 1, 4),
    ),
)

BUILDS = (
    _build("fails", shim.BuildFailedError, says="exit code 3", fields={"log": ("first line", "last line")}),
    _build(
        "needs-fails", shim.BuildFailedError, says="exit code 3", fields={"log": ("first line", "last line")}
    ),
    _build("no-output", shim.BuildFailedError, says="failed to produce output path"),
    _build("wrong-hash", shim.BuildFailedError, says="hash mismatch"),
    _build(
        "needs-feature",
        shim.MissingSystemFeatureError,
        fields={"features": frozenset({"kvm", "a-feature-of-no-machine"})},
    ),
    _build("needs-needs-feature", shim.MissingSystemFeatureError, says="a-feature-of-no-machine"),
    _build("other-system", shim.MissingSystemFeatureError, fields={"system": "riscv64-linux"}),
    _build("no-such-attribute", shim.MissingAttributeError, says="no-such-attribute"),
    Case(
        name="build-throws",
        error=shim.ThrownError,
        call="build",
        arguments={"expression": 'throw "nothing to build"'},
        says="nothing to build",
    ),
    Case(name="build-of-no-derivation", error=shim.NixError, call="build", arguments={"expression": "1"}),
    Case(
        name="no-such-file-to-download",
        error=shim.FetchFailedError,
        arguments={"expression": 'builtins.fetchurl "file:///no/such/file"', "impure": True},
        says="unable to download",
    ),
    Case(
        name="no-such-input",
        error=shim.FetchFailedError,
        call="flake_check",
        arguments={"path": f"path:{FLAKE / 'bad-input'}", "no_build": True},
    ),
    Case(
        name="check-throws",
        error=shim.ThrownError,
        call="flake_check",
        arguments={"path": f"path:{FLAKE / 'bad-check'}", "no_build": True},
        says="this check throws",
    ),
)

CASES = EVALUATIONS + BUILDS


def check(case: Case, error: shim.NixError) -> None:
    """Assert that ``error`` is what ``case`` asks for."""
    assert type(error) is case.error, f"{type(error).__name__}: {error}"
    assert case.says in error.message
    assert "\x1b" not in error.message
    if case.at is not None:
        file, line, column = case.at
        assert error.file is not None, f"no position: {error}"
        assert (Path(error.file).name, error.line, error.column) == (file, line, column)
    for name, value in case.fields.items():
        assert getattr(error, name) == value
