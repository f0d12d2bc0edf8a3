"""The faults of one file: where each is, in a stable order, and the file's text with one of them."""

from __future__ import annotations

import ast
import dataclasses
import difflib
import functools
import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import libcst as cst
from libcst.metadata import MetadataWrapper, PositionProvider

from .operators import operators_for
from .rules import PRAGMA, is_equivalent, is_left_out

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


class PragmaError(Exception):
    """A ``# pragma: no mutate`` without a reason; ``str()`` of it says where."""


@dataclass(frozen=True, kw_only=True)
class Mutant:
    """A fault that can be made."""

    path: str
    """The file, relative to the checkout, with slashes."""
    line: int
    operator: str
    index: int
    """Its place among the faults of the file, from 0."""
    lines: range
    """The lines of the statement it is in, from 1; of a compound statement those of its head."""
    at_import: bool
    """Whether it runs when the module is imported: outside of functions, a default, a decorator."""


@dataclass(frozen=True, kw_only=True)
class _Fault:
    mutant: Mutant
    chain: tuple[cst.CSTNode, ...]
    """The nodes from the module down to the one that is mutated."""
    mutated: cst.CSTNode


class _Visitor(cst.CSTVisitor):
    METADATA_DEPENDENCIES = (PositionProvider,)

    def __init__(self, path: str, ignored: set[int]) -> None:
        super().__init__()
        self.faults: list[_Fault] = []
        self._path = path
        self._ignored = ignored
        self._parents: list[cst.CSTNode] = []

    def on_visit(self, node: cst.CSTNode) -> bool:
        if is_left_out(node, self._parents):
            return False
        for name, _, operator in operators_for(type(node)):
            for mutated in operator(node):
                self._add(name, node, mutated)
        self._parents.append(node)
        return True

    def on_leave(self, original_node: cst.CSTNode) -> None:
        # A node that was left out is left too, and is no parent.
        if self._parents and self._parents[-1] is original_node:
            self._parents.pop()

    def _add(self, operator: str, node: cst.CSTNode, mutated: cst.CSTNode) -> None:
        if is_equivalent(node, mutated, self._parents):
            return
        lines = self._statement_lines(node)
        line = self._line(node)
        if not self._ignored.isdisjoint([line, *lines]):
            return
        mutant = Mutant(
            path=self._path,
            line=line,
            operator=operator,
            index=len(self.faults),
            lines=lines,
            at_import=self._is_at_import(node),
        )
        self.faults.append(_Fault(mutant=mutant, chain=(*self._parents, node), mutated=mutated))

    def _line(self, node: cst.CSTNode) -> int:
        # The position of an operator is sometimes missing (github.com/Instagram/LibCST/issues/1322).
        for one in (node, *reversed(self._parents)):
            position = self.get_metadata(PositionProvider, one, None)
            if position is not None:
                return int(position.start.line)
        return 1

    def _statement_lines(self, node: cst.CSTNode) -> range:
        for one in (node, *reversed(self._parents)):
            if isinstance(
                one, cst.BaseStatement | cst.ExceptHandler | cst.MatchCase | cst.SimpleStatementLine
            ):
                position = self.get_metadata(PositionProvider, one)
                body = getattr(one, "body", None)
                end = position.end.line
                if isinstance(body, cst.IndentedBlock):
                    end = max(position.start.line, self.get_metadata(PositionProvider, body).start.line - 1)
                    if isinstance(one, cst.FunctionDef | cst.ClassDef) and one.decorators:
                        first = self.get_metadata(PositionProvider, one.decorators[0])
                        return range(min(first.start.line, position.start.line), end + 1)
                return range(position.start.line, end + 1)
        return range(1, 2)

    def _is_at_import(self, node: cst.CSTNode) -> bool:
        """Whether no function's body is around a node."""
        chain = [*self._parents, node]
        return not any(
            isinstance(parent, cst.FunctionDef | cst.Lambda) and child is parent.body
            for parent, child in itertools.pairwise(chain)
        )


def find_mutants(root: Path, path: str) -> list[Mutant]:
    """All faults of a file.

    Raises:
        PragmaError: a line is left out and does not say why.
    """
    return [fault.mutant for fault in _find_faults(_read(root, path), path)]


def mutated_text(root: Path, mutant: Mutant) -> str | None:
    """The file's text with the fault, or None where it is none: it says the same, or is no Python."""
    text = _read(root, mutant.path)
    changed = _replace(_find_faults(text, mutant.path)[mutant.index])
    try:
        compile(changed, mutant.path, "exec", dont_inherit=True)
    except SyntaxError:
        return None
    return None if _dump(changed) == _dump(text) else changed


def short_diff(before: str, after: str) -> tuple[str, str]:
    """The first line that a fault takes away and what stands there instead, both without indentation."""
    lines = list(difflib.ndiff(before.splitlines(), after.splitlines()))
    removed = [line[2:].strip() for line in lines if line.startswith("- ")]
    added = [line[2:].strip() for line in lines if line.startswith("+ ")]
    return (removed or [""])[0], (added or [""])[0]


def _read(root: Path, path: str) -> str:
    return (root / path).read_text(encoding="utf-8")


# A draw asks for the text of many faults of few files.
@functools.cache
def _find_faults(text: str, path: str) -> list[_Fault]:
    wrapper = MetadataWrapper(cst.parse_module(text))
    visitor = _Visitor(path, set(_ignored_lines(text, path)))
    wrapper.visit(visitor)
    return visitor.faults


def _replace(fault: _Fault) -> str:
    """The module's text with the fault. ``deep_replace`` does it too, and visits every node of the module."""
    changed = fault.mutated
    for parent, child in reversed(list(itertools.pairwise(fault.chain))):
        for field in dataclasses.fields(parent):
            value = getattr(parent, field.name)
            if value is child:
                changed = parent.with_changes(**{field.name: changed})
                break
            if isinstance(value, Sequence) and any(one is child for one in value):
                kept = [changed if one is child else one for one in value]
                changed = parent.with_changes(**{field.name: kept})
                break
    return cst.ensure_type(changed, cst.Module).code


@functools.lru_cache(maxsize=2)
def _dump(text: str) -> str:
    return ast.dump(ast.parse(text))


def _ignored_lines(text: str, path: str) -> Iterator[int]:
    for number, line in enumerate(text.splitlines(), start=1):
        if found := PRAGMA.search(line):
            if not found["reason"]:
                raise PragmaError(f"{path}:{number}: `# pragma: no mutate` says no reason; append `: why`")
            yield number
