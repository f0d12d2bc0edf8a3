"""What is not mutated: code that does not run, words, and faults that no test could notice or should wait for.

The list is closed and speaks of forms of code, never of places. A single place can carry ``# pragma: no mutate: reason``.
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

# Only types are told by these, or they fail at once with any argument that is wrong.
_TYPE_CALLS = {
    "TypeVar",
    "NewType",
    "ParamSpec",
    "cast",
    "assert_never",
    "isinstance",
    "issubclass",
    "len",
    "super",
}
_TYPE_DECORATORS = {
    "overload",
    "override",
    "final",
    "runtime_checkable",
    "abstractmethod",
    "staticmethod",
    "no_type_check",
}
# Results stay the same, and only their time or space changes.
_COST_DECORATORS = {"cache", "lru_cache"}
# A dataclass stays what it is to everyone who does not break its promise; a thread's flag matters at exit alone.
_PROMISES = {"frozen", "slots", "kw_only", "repr", "daemon", "maxsize"}
# How long: the tests wait for no duration (CONTRIBUTING), so that none is held by one.
_DURATIONS = {"timeout", "timeout_seconds"}
# For a person: names of tasks and threads, texts of a message.
_WORDING = {"hint", "message", "expected", "help", "name", "stacklevel"}
# The default on any machine of today; written out because a lint asks for it.
_DEFAULTS = {"encoding", "check", "strict"}
_LOGGERS = {"log", "_log", "logger", "_logger"}
_LOG_METHODS = {"debug", "info", "warning", "error", "exception", "log"}


def _last_name(node: cst.CSTNode | None) -> str:
    """The last part of a dotted name, of a call's or of a decorator's too; empty for anything else."""
    if isinstance(node, cst.Call):
        return _last_name(node.func)
    if isinstance(node, cst.Decorator):
        return _last_name(node.decorator)
    if isinstance(node, cst.Attribute):
        return node.attr.value
    return node.value if isinstance(node, cst.Name) else ""


def _is_types_only(node: cst.CSTNode, parents: Sequence[cst.CSTNode]) -> bool:
    """Read by a type checker, and by no program."""
    if isinstance(node, cst.Annotation | cst.TypeAlias):
        return True
    if isinstance(node, cst.If):
        return _last_name(node.test) == "TYPE_CHECKING" or m.matches(
            node.test, m.Comparison(left=m.Name("__name__"))
        )
    if isinstance(node, cst.Call):
        return _last_name(node) in _TYPE_CALLS
    # `Schema = dict[str, Any]` of a module: an alias in annotations.
    return (
        isinstance(node, cst.Assign)
        and len(parents) <= 2
        and m.matches(node.value, m.Subscript(value=m.Name()))
    )


def _is_for_people(node: cst.CSTNode, parents: Sequence[cst.CSTNode]) -> bool:
    """``__repr__``, ``__all__``, a line of the log (as PIT leaves out calls of loggers), and the words of an error."""
    if isinstance(node, cst.FunctionDef):
        return node.name.value == "__repr__"
    if isinstance(node, cst.Assign):
        return any(
            _last_name(target.target) in {"__all__", "__slots__", *_LOGGERS} for target in node.targets
        )
    if isinstance(node, cst.Expr):
        call = node.value
        return (
            isinstance(call, cst.Call)
            and isinstance(call.func, cst.Attribute)
            and call.func.attr.value in _LOG_METHODS
            and _last_name(call.func.value) in _LOGGERS
        )
    if isinstance(node, cst.Arg):
        return (node.keyword is not None and node.keyword.value in _WORDING) or _is_text_of_error(
            node, parents
        )
    return False


def _is_text_of_error(argument: cst.Arg, parents: Sequence[cst.CSTNode]) -> bool:
    is_text = isinstance(argument.value, cst.SimpleString | cst.FormattedString | cst.ConcatenatedString)
    call = parents[-1] if parents else None
    return is_text and bool(re.search(r"(Error|Problem|Warning|problem|fail)$", _last_name(call)))


def _is_promise(node: cst.CSTNode, parents: Sequence[cst.CSTNode]) -> bool:  # noqa: ARG001  (each rule is called alike)
    return (
        isinstance(node, cst.Arg)
        and node.keyword is not None
        and node.keyword.value in _PROMISES | _DURATIONS | _DEFAULTS
    )


def _is_duration(node: cst.CSTNode, parents: Sequence[cst.CSTNode]) -> bool:  # noqa: ARG001
    """``…_SECONDS = 5.0``: the value of a constant that says by its name how long."""
    return (
        isinstance(node, cst.Assign)
        and _last_name(node.targets[0].target).endswith("_SECONDS")
        and m.matches(node.value, m.Integer() | m.Float())
    )


_RULES: tuple[Callable[[cst.CSTNode, Sequence[cst.CSTNode]], bool], ...] = (
    _is_types_only,
    _is_for_people,
    _is_promise,
    _is_duration,
)


def is_left_out(node: cst.CSTNode, parents: Sequence[cst.CSTNode]) -> bool:
    """Whether a node, and all below it, is not mutated. ``parents`` are from the module down to the node's own."""
    return any(rule(node, parents) for rule in _RULES)


def is_equivalent(node: cst.CSTNode, mutated: cst.CSTNode, parents: Sequence[cst.CSTNode]) -> bool:
    """Whether one fault at a node that may be mutated is none: it does the same, or changes what is left out."""
    if isinstance(node, cst.Call) and isinstance(mutated, cst.Call):
        changed = _changed_argument(node, mutated)
        # `f(x=False)` and `f(x=None)` say no alike; the operator on names makes it True.
        return changed is not None and (
            m.matches(changed.value, m.Name("False")) or is_left_out(changed, [*parents, node])
        )
    if isinstance(node, cst.Assign | cst.AnnAssign) and isinstance(mutated, cst.Assign | cst.AnnAssign):
        return node.value is not None and m.matches(node.value, m.Name("False"))
    if isinstance(node, cst.FunctionDef | cst.ClassDef) and isinstance(mutated, type(node)):
        removed = [one for one in node.decorators if one not in mutated.decorators]
        return any(_last_name(one) in _TYPE_DECORATORS | _COST_DECORATORS for one in removed)
    return False


def _changed_argument(node: cst.Call, mutated: cst.Call) -> cst.Arg | None:
    """The argument of a call that a fault replaces or removes."""
    return next((argument for argument in node.args if argument not in mutated.args), None)
