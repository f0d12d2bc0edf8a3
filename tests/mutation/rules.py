"""What is not mutated: what does not run, words, and faults that no test could notice or should wait for.

The rules are about forms of code, never about places. A place can carry ``# pragma: no mutate: reason``.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import libcst as cst
import libcst.matchers as m

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

PRAGMA = re.compile(r"#\s*pragma:\s*no mutate(?::\s*(?P<reason>\S.*))?")
"""A line that is left out; without a reason it is an error (``mutants.PragmaError``)."""

# Told to a type checker alone; or, as mutmut holds too, failing at once with any other argument.
_TYPE_CALLS = {
    "NewType",
    "ParamSpec",
    "TypeVar",
    "assert_never",
    "cast",
    "isinstance",
    "issubclass",
    "len",
    "super",
}
_TYPE_DECORATORS = {"abstractmethod", "final", "overload", "override", "runtime_checkable"}
# The result is the same; only time or space is not.
_COST_DECORATORS = {"cache", "lru_cache"}
# Noticed only by code that breaks the promise, or at exit.
_PROMISES = {"frozen", "slots", "kw_only", "daemon"}
# How long: no test waits for a duration (CONTRIBUTING), so none holds it.
_DURATIONS = {"timeout"}
# What a person reads.
_WORDING = {"hint", "message", "expected", "help", "stacklevel", "thread_name_prefix"}
# UTF-8 is every machine's default; it is written out because ruff asks for it.
_DEFAULTS = {"encoding"}
_LOGGERS = {"log", "_log", "logger", "_logger"}
_LOG_METHODS = {"debug", "info", "warning", "error", "exception", "log"}
_ERRORS = re.compile(r"(Error|Problem|Warning|problem|fail)$")


def _last_name(node: cst.CSTNode | None) -> str:
    """The last part of a dotted name, of a call's or a decorator's too; empty for anything else."""
    if isinstance(node, cst.Call):
        return _last_name(node.func)
    if isinstance(node, cst.Decorator):
        return _last_name(node.decorator)
    if isinstance(node, cst.Attribute):
        return node.attr.value
    return node.value if isinstance(node, cst.Name) else ""


def _is_for_types(node: cst.CSTNode, parents: Sequence[cst.CSTNode]) -> bool:
    """What no program reads: an annotation, an alias of a module, what only a type checker imports."""
    if isinstance(node, cst.Annotation | cst.TypeAlias):
        return True
    if isinstance(node, cst.If):
        is_program = m.matches(node.test, m.Comparison(left=m.Name("__name__")))
        return is_program or _last_name(node.test) == "TYPE_CHECKING"
    if isinstance(node, cst.Call):
        return _last_name(node) in _TYPE_CALLS
    # `Schema = dict[str, Any]`: below the module and the line.
    is_alias = isinstance(node, cst.Assign) and len(parents) == 2
    return is_alias and m.matches(node, m.Assign(value=m.Subscript(value=m.Name())))


def _is_for_people(node: cst.CSTNode, parents: Sequence[cst.CSTNode]) -> bool:
    """``__repr__``, ``__all__``, a line of the log (PIT leaves these out too), and the words of an error."""
    if isinstance(node, cst.FunctionDef):
        return node.name.value == "__repr__"
    if isinstance(node, cst.Assign):
        names = {"__all__", "__slots__", *_LOGGERS}
        return any(_last_name(target.target) in names for target in node.targets)
    if isinstance(node, cst.Expr) and isinstance(node.value, cst.Call):
        func = node.value.func
        is_log = isinstance(func, cst.Attribute) and _last_name(func.value) in _LOGGERS
        return is_log and _last_name(func) in _LOG_METHODS
    if isinstance(node, cst.Arg):
        is_text = isinstance(node.value, cst.SimpleString | cst.FormattedString | cst.ConcatenatedString)
        return _keyword(node) in _WORDING or (is_text and bool(_ERRORS.search(_last_name(parents[-1]))))
    return False


def _is_unnoticed(node: cst.CSTNode, parents: Sequence[cst.CSTNode]) -> bool:
    """A promise, a duration, a default, a cache: see the names above; ``…_SECONDS = 5.0``, ``… = auto()``."""
    if isinstance(node, cst.Decorator):
        return _last_name(node) in _COST_DECORATORS
    if isinstance(node, cst.Arg):
        is_zip = _keyword(node) == "strict" and _last_name(parents[-1]) == "zip"
        return is_zip or _keyword(node) in _PROMISES | _DURATIONS | _DEFAULTS
    if isinstance(node, cst.Assign):
        if isinstance(node.value, cst.Integer | cst.Float):
            return _last_name(node.targets[0].target).endswith("_SECONDS")
        return isinstance(node.value, cst.Call) and _last_name(node.value) == "auto"
    return False


def _keyword(argument: cst.Arg) -> str:
    return argument.keyword.value if argument.keyword is not None else ""


_RULES: tuple[Callable[[cst.CSTNode, Sequence[cst.CSTNode]], bool], ...] = (
    _is_for_types,
    _is_for_people,
    _is_unnoticed,
)


def is_left_out(node: cst.CSTNode, parents: Sequence[cst.CSTNode]) -> bool:
    """Whether a node, and all below it, is not mutated. ``parents`` go from the module to the node's own."""
    return any(rule(node, parents) for rule in _RULES)


def is_equivalent(node: cst.CSTNode, mutated: cst.CSTNode, parents: Sequence[cst.CSTNode]) -> bool:
    """Whether one fault of a node that is mutated is none: it does the same, or changes what is left out."""
    if isinstance(node, cst.Call) and isinstance(mutated, cst.Call):
        changed = next((argument for argument in node.args if argument not in mutated.args), None)
        # `f(x=False)` and `f(x=None)` mostly say the same; the operator on names makes it True.
        return changed is not None and (_is_false(changed.value) or is_left_out(changed, [*parents, node]))
    if isinstance(node, cst.Assign | cst.AnnAssign) and isinstance(mutated, cst.Assign | cst.AnnAssign):
        return _is_false(node.value)
    if isinstance(node, cst.FunctionDef | cst.ClassDef) and isinstance(mutated, type(node)):
        removed = [one for one in node.decorators if one not in mutated.decorators]
        return any(_last_name(one) in _TYPE_DECORATORS | _COST_DECORATORS for one in removed)
    return False


def _is_false(node: cst.CSTNode | None) -> bool:
    return isinstance(node, cst.Name) and node.value == "False"
