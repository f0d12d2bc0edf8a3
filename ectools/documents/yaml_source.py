"""YAML with positions, read as YAML 1.2's core schema, and without the words on which readers disagree.

Each of these is a named error that says how to write what was meant: ``no`` (false in YAML 1.1, text in
1.2), ``1e3`` (text in 1.1, a number in 1.2), ``0777``, ``1_000``, ``12:30``, dates, ``.nan``, duplicate
keys, keys that are not text, merge keys, tags, a second document, and tabs. What does not keep the rest from
being read is told together with all else of its kind.
"""

from __future__ import annotations

import re
from typing import Any

import yaml

from ectools.documents.json_source import keep_sane, parse_number
from ectools.documents.source_map import (
    MAX_NESTING,
    FaultList,
    Place,
    Position,
    SourceMap,
    SourceMapped,
    SyntaxProblem,
)

# libyaml where PyYAML was built with it: ten times as fast, with the same nodes and marks.
_Base: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)

_PLAIN = "plain"
_STRING = "tag:yaml.org,2002:str"
_SEQUENCE = "tag:yaml.org,2002:seq"
_MAPPING = "tag:yaml.org,2002:map"


class _Loader(_Base):  # type: ignore[misc] # the base is chosen at run time
    """A composer that resolves nothing, so that the words of YAML 1.1 are seen as they were written."""

    def resolve(self, kind: type[yaml.Node], value: object, implicit: Any) -> str:  # noqa: ARG002 - PyYAML's signature
        """The tag of a node that has none: a scalar that is not quoted is marked as plain."""
        if kind is yaml.ScalarNode:
            return _PLAIN if implicit[0] else _STRING
        return _SEQUENCE if kind is yaml.SequenceNode else _MAPPING


MAX_NODES = 1_000_000
"""Values in one file, aliases counted as what they stand for: so that ten lines cannot fill the memory."""

_CONSTANTS = {
    **dict.fromkeys(("", "~", "null", "Null", "NULL"), None),
    **dict.fromkeys(("true", "True", "TRUE"), True),
    **dict.fromkeys(("false", "False", "FALSE"), False),
}
_INTEGER = re.compile(r"[-+]?(?:0|[1-9][0-9]*)")
_BASED = re.compile(r"0o[0-7]+|0x[0-9a-fA-F]+")
_FLOAT = re.compile(r"[-+]?[0-9]+\.[0-9]*(?:[eE][-+]?[0-9]+)?")
# Six pairs of digits are a hardware address, whatever YAML 1.1 made of those without a letter.
_MAC = re.compile(r"[0-9]{2}(?::[0-9]{2}){5}")
_TRAPS: tuple[tuple[re.Pattern[str], str], ...] = (
    (
        re.compile(r"(?:y|yes|n|no|on|off)", re.IGNORECASE),
        '{0!r} is a boolean to some YAML readers and text to others: write true or false, or "{0}" in quotes',
    ),
    (
        re.compile(r"[-+]?(?:[0-9]+|\.[0-9]+)[eE][-+]?[0-9]+"),
        "{0!r} is a number to some YAML readers and text to others: write 1.0e+3, or put it in quotes",
    ),
    (
        re.compile(r"[-+]?0[0-9]+"),
        "{0!r} is octal to some YAML readers and decimal to others: write 0o… for octal, or no zero first",
    ),
    (
        re.compile(r"[-+]?[0-9][0-9_]*_[0-9_]*(?:\.[0-9_]*)?"),
        "{0!r} is a number to some YAML readers: write it without _",
    ),
    (
        re.compile(r"0b[01_]+"),
        "{0!r} is a binary number to some YAML readers and text to others: write it in decimal",
    ),
    (
        re.compile(r"[-+]?[0-9]+(?::[0-5]?[0-9])+(?:\.[0-9]*)?"),
        "{0!r} is a number in base 60 to some YAML readers: put it in quotes",
    ),
    (
        re.compile(r"[0-9]{4}-[0-9]{1,2}-[0-9]{1,2}(?:[Tt \t].*)?"),
        "{0!r} is a date to some YAML readers: put it in quotes",
    ),
    (
        re.compile(r"[-+]?\.(?:inf|nan)", re.IGNORECASE),
        "{0!r} is no number of JSON or Nix: every number there is finite",
    ),
    (re.compile(r"[-+]?\.[0-9]+"), "{0!r} is a number to some YAML readers: write the leading zero"),
)


def parse_yaml(text: str) -> SourceMapped:
    """Parse ``text``. Raises SyntaxProblem for what is not YAML, and for what readers disagree on."""
    try:
        loader = _Loader(text)
        try:
            node = loader.get_single_node()
        finally:
            loader.dispose()
    except yaml.MarkedYAMLError as error:
        raise _explain(error, text) from None
    except yaml.YAMLError as error:
        raise SyntaxProblem(f"not YAML: {' '.join(str(error).split())}", _find_unreadable(text)) from None
    found = _Builder()
    value = None if node is None else found.build(node, ())
    found.faults.finish()
    return SourceMapped(value, lambda: found.source_map)


def _explain(error: yaml.MarkedYAMLError, text: str) -> SyntaxProblem:
    mark = error.problem_mark or error.context_mark
    position = None if mark is None else Position(mark.line + 1, mark.column + 1)
    lines = text.split("\n")
    line = lines[position.line - 1] if position and position.line <= len(lines) else ""
    if position and "\t" in line[: len(line) - len(line.lstrip())]:
        return SyntaxProblem(
            "a tab indents this line, and YAML is indented by spaces only",
            Position(position.line, line.index("\t") + 1),
        )
    if "single document" in str(error.context) or "another document" in str(error.problem):
        return SyntaxProblem("a second document starts here (---), and a host description is one", position)
    parts = [part for part in (error.problem, error.context) if part]
    return SyntaxProblem(f"not YAML: {', '.join(parts)}", position)


def _find_unreadable(text: str) -> Position | None:
    match = yaml.reader.Reader.NON_PRINTABLE.search(text)
    if match is None:
        return None
    before = text[: match.start()]
    return Position(before.count("\n") + 1, match.start() - (before.rfind("\n") + 1) + 1)


class _Builder:
    def __init__(self) -> None:
        self.source_map = SourceMap(values={(): Position(1, 1)})
        self.faults = FaultList()

    def build(self, node: yaml.Node, place: Place) -> Any:
        position = _position(node)
        self.source_map.values[place] = position
        if len(self.source_map.values) > MAX_NODES:
            raise SyntaxProblem(f"more than {MAX_NODES} values", position, place=place)
        if len(place) > MAX_NESTING:
            raise SyntaxProblem(f"nested deeper than {MAX_NESTING} levels", position)
        if isinstance(node, yaml.MappingNode):
            self.check_tag(node, _MAPPING, place)
            return self.build_mapping(node, place)
        if isinstance(node, yaml.SequenceNode):
            self.check_tag(node, _SEQUENCE, place)
            return [self.build(item, (*place, index)) for index, item in enumerate(node.value)]
        assert isinstance(node, yaml.ScalarNode)  # noqa: S101 - the third and last kind of node
        return self.read_scalar(node, place)

    def reject(self, message: str, node: yaml.Node, place: Place) -> None:
        self.faults.add(SyntaxProblem(message, _position(node), place=place))

    def check_tag(self, node: yaml.Node, expected: str, place: Place) -> None:
        if node.tag != expected:
            self.reject(f"the tag {node.tag} is not supported: tags are not data", node, place)

    def build_mapping(self, node: yaml.MappingNode, place: Place) -> dict[str, Any]:
        value: dict[str, Any] = {}
        for key_node, value_node in node.value:
            key = self.read_key(key_node, place)
            if key is None:
                continue
            inner = (*place, key)
            if key in value:
                first = self.source_map.keys[inner].line
                message = f"the key {key!r} stands twice in this mapping, first in line {first}"
                self.reject(message, key_node, inner)
                continue
            self.source_map.keys[inner] = _position(key_node)
            value[key] = self.build(value_node, inner)
        return value

    def read_key(self, node: yaml.Node, place: Place) -> str | None:
        """The text of a key; None, and a fault, where it is none."""
        if not isinstance(node, yaml.ScalarNode):
            self.reject("a key is a list or a mapping; keys are text", node, place)
        elif node.tag == _PLAIN and node.value == "<<":
            self.reject("merge keys (<<) are not in YAML 1.2: write the values out", node, place)
        else:
            key = self.read_scalar(node, place)
            if isinstance(key, str):
                return key
            self.reject(f"the key {node.value} is not text: put it in quotes", node, place)
        return None

    def read_scalar(self, node: yaml.ScalarNode, place: Place) -> Any:
        """The value; of one that readers disagree on, its text, and a fault."""
        text = str(node.value)
        if node.tag != _PLAIN:
            self.check_tag(node, _STRING, place)
            return text
        if text in _CONSTANTS:
            return _CONSTANTS[text]
        is_based = _BASED.fullmatch(text) is not None
        if is_based or _INTEGER.fullmatch(text) or _FLOAT.fullmatch(text):
            is_integer = _INTEGER.fullmatch(text) is not None
            number = keep_sane(int(text, 0)) if is_based else parse_number(text, is_integer=is_integer)
            if number is None:
                self.reject(f"the number {text[:20]} is too large for a double", node, place)
            return number
        if not _MAC.fullmatch(text):
            for pattern, message in _TRAPS:
                if pattern.fullmatch(text):
                    self.reject(message.format(text), node, place)
                    break
        return text


def _position(node: yaml.Node) -> Position:
    return Position(node.start_mark.line + 1, node.start_mark.column + 1)
