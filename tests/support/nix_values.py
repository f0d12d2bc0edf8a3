"""Hypothesis strategies for what a renderer of Nix must survive: hostile strings, names, numbers, depth,
widths.
"""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

from ectools.nixlang import nodes

# Pieces that mean something to one of Nix's two string syntaxes, to its layout, or to whoever splits lines.
_PIECES = (
    *(
        "",
        " ",
        "  ",
        "\n",
        "\n\n",
        "\r",
        "\r\n",
        "\t",
        "$",
        "$$",
        "${",
        "$${",
        "''${",
        "\\${",
        "}",
        "${x}",
        "'",
    ),
    *(
        "''",
        "'''",
        "''\\n",
        "''$",
        "'$",
        "$'",
        "\\",
        "\\\\",
        "\\n",
        '"',
        "#",
        "/*",
        "*/",
        "//",
        ";",
        "=",
        "in",
        "a",
    ),
    *(
        "é",
        "\u00a0",
        "\u0085",
        "\u2028",
        "\ufeff",
        "\U0001f980",
        "\x01",
        "\x0b",
        "\x0c",
        "\x1b",
        "\x7f",
        "\u202e",
    ),
    *("b c", "x" * 40, "y" * 98, "./a", "<nixpkgs>", "http://x", "1/0", "null", "true", "rec {", "with x;"),
)
_KEYWORDS = (
    "assert",
    "else",
    "if",
    "in",
    "inherit",
    "let",
    "or",
    "rec",
    "then",
    "with",
    "null",
    "true",
    "__curPos",
)

characters = st.characters(exclude_categories=("Cs",), exclude_characters="\0")
"""Every character that a Nix string can hold."""

strings = st.one_of(
    st.lists(st.sampled_from(_PIECES), max_size=8).map("".join),
    st.text(characters, max_size=20),
)

names = st.one_of(
    st.from_regex(r"[a-zA-Z_][a-zA-Z0-9_'-]{0,8}", fullmatch=True),
    st.sampled_from(_KEYWORDS),
    st.sampled_from(("", "a b", "1", "é", "a.b", "${x}", '"', "x" * 90, "x y" * 32)),
    strings,
)

integers = st.one_of(
    st.integers(-(2**63), 2**63 - 1),
    st.sampled_from((0, -1, 2**53, 2**53 + 1, 2**63 - 1, -(2**63), -(2**63) + 1)),
)

floats = st.one_of(
    st.floats(allow_nan=False, allow_infinity=False),
    st.sampled_from(
        (0.0, -0.0, 1e22, 1e16, 5e-324, 2.2250738585072014e-308, 1.7976931348623157e308, 0.1, -1e-7)
    ),
)

scalars = st.one_of(st.none(), st.booleans(), integers, floats, strings)


def _containers(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.lists(inner, max_size=4) | st.dictionaries(names, inner, max_size=4)


data = st.recursive(scalars, _containers, max_leaves=12)
"""Any JSON value that Nix can hold."""

identifiers = st.from_regex(r"[a-z_][a-zA-Z0-9_'-]{0,12}", fullmatch=True).filter(
    lambda name: name not in _KEYWORDS[:10]
) | st.sampled_from(("q" * 45, "q" * 80))

paths = st.sampled_from(("./a", "../b/c.nix", "/etc/x", "<nixpkgs>", "<nixpkgs/lib>", "./" + "d" * 60))

_comments = st.none() | st.sampled_from(("one", "two\nlines", "*/ ${x} ''", "z" * 120))


@st.composite
def _bindings(draw: st.DrawFn, inner: st.SearchStrategy[Any], *, least: int = 0) -> tuple[Any, ...]:
    bindings: list[nodes.Binding | nodes.Inherit] = []
    taken: set[str] = set()
    for _ in range(draw(st.integers(least, 3))):
        if draw(st.integers(0, 5)) == 0:
            given = draw(st.lists(identifiers.filter(lambda name: name not in taken), min_size=1, max_size=5))
            unique = tuple(dict.fromkeys(given))
            source = draw(inner) if draw(st.booleans()) else None
            bindings.append(nodes.Inherit(unique, source, draw(_comments)))
            taken.update(unique)
            continue
        path = tuple(draw(st.lists(names, min_size=1, max_size=5)))
        if path[0] not in taken:
            bindings.append(nodes.Binding(path, draw(inner), draw(_comments)))
            taken.add(path[0])
    if least and not bindings:
        bindings.append(nodes.Binding(("x",), 1))
    return tuple(bindings)


@st.composite
def _functions(draw: st.DrawFn, inner: st.SearchStrategy[Any]) -> nodes.Function:
    given = draw(st.lists(identifiers, max_size=3, unique=True))
    parameters = tuple(
        nodes.Parameter(name, draw(inner), has_default=True)
        if draw(st.integers(0, 3)) == 0
        else nodes.Parameter(name)
        for name in given
    )
    bind = draw(st.none() | st.just("all-of-them"))
    return nodes.Function(parameters=parameters, body=draw(inner), open=draw(st.booleans()), bind=bind)


def _select(base: Any, path: list[str], default: tuple[Any, ...]) -> nodes.Select:
    return nodes.Select(base, tuple(path), *default)


def _extend(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    defaults = st.just(()) | st.tuples(inner, st.just(True))
    return st.one_of(
        st.lists(inner, max_size=3),
        st.dictionaries(names, inner, max_size=3),
        st.builds(nodes.AttrSet, _bindings(inner), st.booleans()),
        st.builds(
            _select,
            st.builds(nodes.Var, identifiers) | inner,
            st.lists(names, min_size=1, max_size=3),
            defaults,
        ),
        st.builds(
            lambda function, arguments: nodes.Call(function, *arguments),
            st.builds(nodes.Var, identifiers) | inner,
            st.lists(inner, min_size=1, max_size=4),
        ),
        st.builds(nodes.Lambda, identifiers, inner),
        _functions(inner),
        st.builds(nodes.Let, _bindings(inner, least=1), inner),
        st.builds(nodes.With, inner, inner),
        st.builds(nodes.Assert, inner, inner),
        st.builds(
            lambda condition, yes, no: nodes.If(condition=condition, yes=yes, no=no), inner, inner, inner
        ),
        st.lists(inner | strings, max_size=3).map(lambda parts: nodes.Interpolated(tuple(parts))),
    )


expressions = st.recursive(
    scalars | st.builds(nodes.Var, identifiers) | st.builds(nodes.Path, paths), _extend, max_leaves=12
)
"""Any tree of nodes and data. It parses; whether it evaluates is another question."""
