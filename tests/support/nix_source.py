"""Nix source text → the renderer's nodes, for tests that compare layouts; by tree-sitter's grammar of Nix.

Only what the nodes can say is converted; for the rest, and for literals that the renderer would write in
another way, Unsupported is raised.
"""

from __future__ import annotations

import textwrap
from collections.abc import Iterator
from typing import Any

import tree_sitter
import tree_sitter_nix

from ectools.nixlang import RenderError, nodes, scalars

_CONSTANTS = {"true": True, "false": False, "null": None}


class Unsupported(Exception):  # noqa: N818  (it is a reason to pass over something, not an error)
    """The text cannot be said in nodes."""


def find_units(source: str) -> Iterator[tuple[str, Any]]:
    """The bindings and list items that stand on lines of their own and can be converted.

    Each with its text, without its indentation. What is inside a unit is not a unit again.
    """
    data = source.encode()
    parser = tree_sitter.Parser(tree_sitter.Language(tree_sitter_nix.language()))
    lines = source.split("\n")
    waiting = [parser.parse(data).root_node]
    while waiting:
        node = waiting.pop()
        text = _read_lines(node, lines)
        if text is not None:
            try:
                yield text, _convert_unit(node)
                continue
            except (Unsupported, RenderError):
                pass
        waiting.extend(reversed(node.children))


def _read_lines(node: tree_sitter.SyntaxNode, lines: list[str]) -> str | None:
    """The node's text where it is a binding or a list's item, and alone on its lines."""
    is_item = node.parent is not None and node.parent.type == "list_expression" and node.is_named
    if not is_item and node.type not in {"binding", "inherit", "inherit_from"}:
        return None
    (start, column), (end, end_column) = node.start_point, node.end_point
    own = [line.encode() for line in lines[start : end + 1]]
    if own[0][:column].strip() or own[-1][end_column:].strip() or any(not line.strip() for line in own):
        return None
    margin = b" " * column
    if any(not line.startswith(margin) for line in own):
        return None
    return "\n".join(line[column:].decode() for line in own)


def _convert_unit(node: tree_sitter.SyntaxNode) -> Any:
    if node.type in {"binding", "inherit", "inherit_from"}:
        return _convert_binding(node)
    return convert(node)


def _text(node: tree_sitter.SyntaxNode | None) -> str:
    if node is None or node.text is None:
        raise Unsupported
    return node.text.decode()


def _field(node: tree_sitter.SyntaxNode, name: str) -> tree_sitter.SyntaxNode:
    found = node.child_by_field_name(name)
    if found is None:
        raise Unsupported(name)
    return found


def convert(node: tree_sitter.SyntaxNode) -> Any:
    """The expression of a node of the tree."""
    if node.has_error or any(child.type == "comment" for child in node.children):
        raise Unsupported
    converter = _CONVERTERS.get(node.type)
    if converter is None:
        raise Unsupported(node.type)
    return converter(node)


def _convert_binding(node: tree_sitter.SyntaxNode) -> nodes.Binding | nodes.Inherit:
    if any(child.type == "comment" for child in node.children):
        raise Unsupported
    if node.type == "binding":
        return nodes.Binding(_convert_path(_field(node, "attrpath")), convert(_field(node, "expression")))
    names = tuple(_convert_name(child) for child in _field(node, "attrs").named_children)
    return nodes.Inherit(names, convert(_field(node, "expression")) if node.type == "inherit_from" else None)


def _convert_path(node: tree_sitter.SyntaxNode) -> tuple[str, ...]:
    return tuple(_convert_name(child) for child in node.named_children)


def _convert_name(node: tree_sitter.SyntaxNode) -> str:
    name = _text(node) if node.type == "identifier" else convert(node)
    if not isinstance(name, str) or scalars.attribute_name(name) != _text(node):
        raise Unsupported
    return name


def _convert_number(node: tree_sitter.SyntaxNode) -> float:
    text = _text(node)
    value = int(text) if text.isdigit() else float(text)
    if scalars.number(value) != text:
        raise Unsupported
    return value


def _convert_negation(node: tree_sitter.SyntaxNode) -> float:
    value = convert(_field(node, "argument"))
    if not _text(node).startswith("-") or isinstance(value, bool) or not isinstance(value, (int, float)):
        raise Unsupported
    return -value


def _convert_variable(node: tree_sitter.SyntaxNode) -> Any:
    name = _text(node)
    return _CONSTANTS[name] if name in _CONSTANTS else nodes.Var(name)


def _convert_string(node: tree_sitter.SyntaxNode) -> Any:
    parts: list[Any] = []
    for child in node.children[1:-1]:
        if child.type == "interpolation":
            parts.append(convert(_field(child, "expression")))
            continue
        text = _text(child)
        for written, meant in (("\\n", "\n"), ("\\t", "\t"), ("\\r", "\r"), ('\\"', '"'), ("\\${", "${")):
            text = text.replace(written, meant)
        if "\\" in text or scalars.escape_nix_string(text) != _text(child):
            raise Unsupported
        parts.append(text)
    if any(not isinstance(part, str) for part in parts):
        return nodes.Interpolated(tuple(parts))
    value = "".join(parts)
    if scalars.split_indented(value) is not None:
        raise Unsupported
    return value


def _convert_indented(node: tree_sitter.SyntaxNode) -> str:
    text = _text(node)[2:-2]
    first, _, rest = text.partition("\n")
    if first.strip() or "''" in rest or "${" in rest:
        raise Unsupported
    body, newline, last = rest.rpartition("\n")
    value = textwrap.dedent(body + newline) if not last.strip() else textwrap.dedent(rest)
    if scalars.split_indented(value) is None:
        raise Unsupported
    return value


def _convert_list(node: tree_sitter.SyntaxNode) -> list[Any]:
    return [convert(child) for child in node.named_children]


def _convert_set(node: tree_sitter.SyntaxNode) -> nodes.AttrSet:
    return nodes.AttrSet(_convert_bindings(node), node.type == "rec_attrset_expression")


def _convert_bindings(node: tree_sitter.SyntaxNode) -> tuple[Any, ...]:
    found = [child for child in node.named_children if child.type == "binding_set"]
    if any(child.type == "comment" for each in found for child in each.children):
        raise Unsupported
    return tuple(_convert_binding(child) for each in found for child in each.named_children)


def _convert_call(node: tree_sitter.SyntaxNode) -> nodes.Call:
    return nodes.Call(convert(_field(node, "function")), convert(_field(node, "argument")))


def _convert_select(node: tree_sitter.SyntaxNode) -> nodes.Select:
    path = _convert_path(_field(node, "attrpath"))
    default = node.child_by_field_name("default")
    base = convert(_field(node, "expression"))
    return nodes.Select(base, path) if default is None else nodes.Select(base, path, convert(default), True)


def _convert_function(node: tree_sitter.SyntaxNode) -> nodes.Lambda | nodes.Function:
    formals, universal = node.child_by_field_name("formals"), node.child_by_field_name("universal")
    body = convert(_field(node, "body"))
    if formals is None:
        return nodes.Lambda(_text(universal), body)
    if any(child.type == "comment" for child in formals.children):
        raise Unsupported
    parameters = []
    for formal in formals.children_by_field_name("formal"):
        default = formal.child_by_field_name("default")
        name = _text(formal.child_by_field_name("name"))
        parameters.append(
            nodes.Parameter(name) if default is None else nodes.Parameter(name, convert(default), True)
        )
    return nodes.Function(
        parameters=tuple(parameters),
        body=body,
        open=formals.child_by_field_name("ellipses") is not None,
        bind=None if universal is None else _text(universal),
    )


_CONVERTERS: dict[str, Any] = {
    "integer_expression": _convert_number,
    "float_expression": _convert_number,
    "unary_expression": _convert_negation,
    "variable_expression": _convert_variable,
    "string_expression": _convert_string,
    "indented_string_expression": _convert_indented,
    "path_expression": lambda node: nodes.Path(_text(node)),
    "spath_expression": lambda node: nodes.Path(_text(node)),
    "list_expression": _convert_list,
    "attrset_expression": _convert_set,
    "rec_attrset_expression": _convert_set,
    "apply_expression": _convert_call,
    "select_expression": _convert_select,
    "function_expression": _convert_function,
    "parenthesized_expression": lambda node: convert(_field(node, "expression")),
    "let_expression": lambda node: nodes.Let(_convert_bindings(node), convert(_field(node, "body"))),
    "with_expression": lambda node: nodes.With(
        convert(_field(node, "environment")), convert(_field(node, "body"))
    ),
    "assert_expression": lambda node: nodes.Assert(
        convert(_field(node, "condition")), convert(_field(node, "body"))
    ),
    "if_expression": lambda node: nodes.If(
        condition=convert(_field(node, "condition")),
        yes=convert(_field(node, "consequence")),
        no=convert(_field(node, "alternative")),
    ),
}
