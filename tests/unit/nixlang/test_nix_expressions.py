"""Nodes → text: golden files for each kind of node, and laws over random trees."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from support import golden, nix_values

from ectools.nixlang import RenderError, render, render_file
from ectools.nixlang.nodes import (
    Assert,
    AttrSet,
    Binding,
    Call,
    Function,
    If,
    Inherit,
    Interpolated,
    Lambda,
    Let,
    Parameter,
    Path,
    Select,
    Var,
    With,
)

if TYPE_CHECKING:
    from ectools.nixlang.nodes import Expr

LONG = Var("a" * 60)
OTHER = Var("b" * 60)
ONE = AttrSet((Binding(("x",), 1),))
TWO: Any = {"x": 1, "y": [1, 2]}
LIB = Var("lib")


def _bind(**values: Expr) -> AttrSet:
    return AttrSet(tuple(Binding((name,), value) for name, value in values.items()))


FILES: dict[str, Expr] = {
    "calls": _bind(
        short=Call(Var("f"), 1, "x", Var("y")),
        simple_is_never_broken=Call(Var("f"), LONG, OTHER),
        many=Call(Var("f"), LONG, OTHER, Var("c"), Var("d")),
        set_last=Call(Var("f"), LONG, TWO),
        set_first=Call(Var("f"), TWO, LONG),
        set_alone=Call(Var("f"), ONE),
        lists=Call(Var("f"), [1, 2, 3], [4, 5]),
        list_before_set=Call(Var("f"), [1, 2], ONE),
        negative=Call(Var("f"), -1, -0.5),
        curried=Call(Call(Var("f"), 1), 2),
        nested=Call(Var("f"), Call(Var("g"), TWO)),
        of_lambda=Call(Lambda("x", Var("x")), 1),
        lambda_last=Call(Var("map"), Lambda("x", ONE), Var("xs")),
        lambda_with_set=Call(Var("f"), Lambda("x", TWO)),
        imported=Call(Var("import"), Path("./a.nix"), {}),
        indented_string=Call(Select(Var("pkgs"), ("writeText",)), "name", "one\ntwo\n"),
        let_inside=Call(Var("f"), LONG, Let((Binding(("x",), 1),), Var("x"))),
    ),
    "functions": _bind(
        one=Lambda("x", Var("x")),
        three=Lambda("a", Lambda("b", Lambda("c", Var("a")))),
        with_set=Lambda("a", Lambda("b", TWO)),
        empty=Function(parameters=(), body=1),
        open_only=Function(parameters=(), open=True, body=TWO),
        two=Function(parameters=(Parameter("a"), Parameter("b")), open=True, body=TWO),
        three_names=Function(parameters=tuple(map(Parameter, "abc")), body=Var("a")),
        default=Function(
            parameters=(Parameter("a", None, has_default=True), Parameter("b", TWO, has_default=True)),
            body=Var("a"),
        ),
        bound=Function(parameters=(Parameter("a"),), open=True, bind="args", body=Var("args")),
    ),
    "module": Function(
        parameters=(Parameter("config"), Parameter("lib"), Parameter("pkgs")),
        open=True,
        body=Let(
            (
                Inherit(("mkIf", "mkDefault"), LIB),
                Binding(("cfg",), Select(Var("config"), ("services", "odd name"))),
            ),
            AttrSet(
                (
                    Binding(("imports",), [Path("./a.nix"), Path("<nixpkgs/nixos>")], "What this needs."),
                    Binding(
                        ("config",),
                        Call(Var("mkIf"), Select(Var("cfg"), ("enable",)), TWO),
                        "Two lines\n\n  of comment */ ${x}",
                    ),
                    Binding(("a", "b c", "if"), With(Var("pkgs"), [Var("hello"), Var("jq")])),
                    Binding(("run",), Interpolated((Select(Var("pkgs"), ("jq",)), '/bin/jq "${x}"'))),
                )
            ),
        ),
    ),
    "names": AttrSet(
        (
            Inherit(("a", "b", "c")),
            Inherit(("d", "e", "f", "g")),
            Inherit(("or", "odd name"), Var("x")),
            Inherit(("h",), Call(Var("f"), LONG, OTHER)),
            Binding(("rec",), AttrSet((Binding(("x",), 1),), recursive=True)),
            Binding(("one-inherit",), AttrSet((Inherit(("x", "y")),))),
            Binding(("x" * 95,), 12345678),
            Binding(("x" * 96,), "a string stays beside its name"),
            Binding((f"{'x' * 60} y",), "but not beside one in quotes, where it is long"),
            Binding(tuple("vwxyz"), LONG),
            Binding((f"{'x' * 60} z",), TWO),
        )
    ),
    "selections": [
        Select(Var("a"), ("b", "c d", "if")),
        Select(Select(Var("a"), ("b",)), ("c",)),
        Select(TWO, ("x",)),
        Select(Call(Var("f"), 1), ("x",)),
        Select("text", ("x",)),
        Select(Var("a"), ("b",), None, has_default=True),
        Select(Var("a"), ("b",), Call(Var("f"), 1), has_default=True),
        Select(LONG, ("x" * 30, "y" * 30), OTHER, has_default=True),
    ],
    "strings": [
        Interpolated(()),
        Interpolated(("text",)),
        Interpolated(("a ${b} ", Var("b"), ' "c"\n')),
        Interpolated((Call(Var("f"), ONE), "x")),
        Interpolated(("long ", Call(Var("f"), LONG, Lambda("x", OTHER)), " end")),
        Interpolated((Call(Var("f"), TWO),)),
        Interpolated((Interpolated(("a", Var("b"))),)),
        "a\n\n  b\n",
        "${a}\n$${b}\n",
    ],
    "conditions": _bind(
        short=If(condition=Var("a"), yes=1, no=2),
        long=If(condition=Var("a"), yes=LONG, no=OTHER),
        chain=If(condition=Var("a"), yes=LONG, no=If(condition=Var("b"), yes=OTHER, no=None)),
        asserted=Assert(Call(Var("f"), 1), TWO),
        scoped=With(Var("a"), With(Var("b"), [Var("c")])),
        bound=Let((Binding(("x",), -1),), Function(parameters=(Parameter("y"),), body=Var("x"))),
    ),
}


@pytest.mark.parametrize("name", FILES)
def test_golden(name: str) -> None:
    # The `with` binds every variable, so that the golden file is a whole Nix program.
    expr = Lambda("free", With(Var("free"), FILES[name]))
    text = render_file(expr, comment="A comment at the top.\n\nIn paragraphs.")
    golden.compare(f"nixlang/{name}.nix", text)


@given(nix_values.expressions)
def test_every_tree_has_a_text_of_clean_lines(expr: Any) -> None:
    text = render_file(expr)
    assert text.endswith("\n")
    assert not text.startswith((" ", "\n"))
    outside = [line for line in text.split("\n") if '"' not in line and "'" not in line]
    assert not [line for line in outside if line.endswith(" ")]


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: Var("a b"), "'a b' is not a Nix identifier"),
        (lambda: Var("let"), "'let' is not a Nix identifier"),
        (lambda: Var("x\n"), "not a Nix identifier"),
        (lambda: Var(""), "not a Nix identifier"),
        (lambda: Var("x; y"), "not a Nix identifier"),
        (lambda: Path("a"), "not a path literal"),
        (lambda: Path("./a b"), "not a path literal"),
        (lambda: Path("./a\n"), "not a path literal"),
        (lambda: Path("./${x}"), "not a path literal"),
        (lambda: Path("<a>b"), "not a path literal"),
        (lambda: Path("/"), "not a path literal"),
        (lambda: Path("/a/"), "not a path literal"),
        (lambda: Lambda("x:y", 1), "not a Nix identifier"),
        (lambda: Parameter("..."), "not a Nix identifier"),
        (lambda: Inherit(("a b",)), "not a Nix identifier"),
        (lambda: Inherit(()), "at least one name"),
        (lambda: Call(Var("f")), "at least one argument"),
        (lambda: Select(Var("f"), ()), "at least one attribute name"),
        (lambda: Binding((), 1), "needs a name"),
        (lambda: AttrSet((Binding(("a",), 1), Binding(("a",), 2))), "'a' is defined twice"),
        (lambda: AttrSet((Binding(("a",), {}), Binding(("a", "b"), 2))), "'a.b' and 'a' are defined"),
        (lambda: AttrSet((Inherit(("a",)), Binding(("a",), 2))), "'a' is defined twice"),
        (lambda: Let((Inherit(("a", "a")),), 1), "'a' is defined twice"),
        (lambda: Function(parameters=(Parameter("a"), Parameter("a")), body=1), "'a' is defined twice"),
        (lambda: Function(parameters=(Parameter("a"),), bind="a", body=1), "'a' is defined twice"),
        (lambda: render(Call(Var("f"), {"x": [2**63]})), r"^x\[0\]: .*out of Nix's range"),
        (lambda: render(AttrSet((Binding(("a", "b"), 1, "\0"),))), "comment holds a NUL"),
        (
            lambda: render(AttrSet((Binding(("a",), 1), Binding(("b", "c"), {"d": ["\0"]})))),
            r"^b\.c\.d\[0\]: ",
        ),
        (
            lambda: render(Function(parameters=(Parameter("a"), Parameter("b", 2**64, True)), body=1)),
            "^the integer 18446744073709551616",
        ),
        (lambda: render(Select(Var("a"), ("\0",))), "NUL"),
        (lambda: render(Interpolated(("\ud800",))), "surrogate"),
    ],
)
def test_refused(make: Any, words: str) -> None:
    with pytest.raises(RenderError, match=words):
        make()
