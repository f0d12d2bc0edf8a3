"""A value from a flake, a file or an expression; a failed evaluation as an error with a class and a place."""

from __future__ import annotations

import contextlib
import math
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ectools.errors import UNSET, EcError, InputError
from ectools.nixpkgs import find_nixpkgs

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from pynix_eval_shim import Attribute, NixError, NixMessage

_FRAMES_SHOWN = 12
# By the class's name, because the shim is imported only when something is evaluated.
_HINTS = {
    "FetchFailedError": "without a network, name a nixpkgs that is on this machine: --nixpkgs PATH",
    "PurityError": "allow it with --impure",
    "NixTimeoutError": "give it longer with --timeout",
    "OutOfMemoryError": "give it more with --memory",
}


@dataclass(frozen=True, kw_only=True)
class EvaluationRequest:
    """What to evaluate: exactly one of ``expression``, ``file`` and ``flake`` (``REF#ATTRIBUTE``).

    With ``data`` the target is a function that is called with it; ``apply`` is the text of a function for the
    result. ``nixpkgs`` is what ``<nixpkgs>`` means, or the flake's input of that name; ``search_path`` is
    what further ``<names>`` mean, for which the evaluation has to be impure. ``seconds`` (of time) and
    ``memory_mib`` (of address space) are limits, None for the shim's default.
    """

    expression: str | None = None
    file: Path | None = None
    flake: str | None = None
    apply: str | None = None
    data: Any = UNSET
    impure: bool = False
    nixpkgs: str | None = None
    search_path: Mapping[str, str] = field(default_factory=dict)
    override_inputs: Mapping[str, str] = field(default_factory=dict)
    seconds: float | None = None
    memory_mib: int | None = None


class FailedEvaluationError(EcError):
    """An evaluation failed; ``kind`` is the class of the shim's error, without its ``Error``."""

    def __init__(self, error: NixError, *, source: str | None = None) -> None:
        super().__init__(error.message, hint=error.hint or _HINTS.get(type(error).__name__))
        self.error = error
        self.kind = type(error).__name__.removesuffix("Error")
        self._source = source

    def render(self) -> str:
        """The error for people: kind and message, the place with its line of source, the trace, the hint."""
        error = self.error
        lines = [f"{_words(self.kind)}: {error.message}"]
        if error.file is not None:
            lines.append(f"  at {_place(error.file, error.line, error.column)}")
            lines += _excerpt(self._read(error.file), error.line, error.column)
        for frame in error.trace[:_FRAMES_SHOWN]:
            where = f"  ({_place(frame.file, frame.line, frame.column)})" if frame.file else ""
            lines.append(f"  … {frame.message}{where}")
        if len(error.trace) > _FRAMES_SHOWN:
            lines.append(f"  … and {len(error.trace) - _FRAMES_SHOWN} frames more; --json has them all")
        if self.hint is not None:
            lines.append(f"  hint: {self.hint}")
        return "\n".join(lines)

    def show_json(self) -> dict[str, Any]:
        """``class``, ``message``, ``file``, ``line``, ``column``, ``trace`` (a list of frames), ``hint``."""
        error = self.error
        return {
            "class": type(error).__name__,
            "message": error.message,
            "file": error.file,
            "line": error.line,
            "column": error.column,
            "trace": [
                {"message": frame.message, "file": frame.file, "line": frame.line, "column": frame.column}
                for frame in error.trace
            ],
            "hint": self.hint,
        }

    def _read(self, file: str) -> str:
        if file == "«string»":
            return self._source or ""
        try:
            return Path(file).read_text(encoding="utf-8", errors="replace")
        except OSError:
            return ""


def evaluate_request(request: EvaluationRequest, *, tell: Callable[[NixMessage], None] | None = None) -> Any:
    """The value, as Python sees JSON; floats may be infinite. Raises FailedEvaluationError, InputError.

    ``tell`` is called with what the evaluation printed, its warnings and traces; without it they are logged.
    """
    from pynix_eval_shim import evaluate

    arguments = _find_arguments(request)
    with _typed_failures(request):
        return evaluate(request.expression, **arguments, tell=tell)


def evaluate_attributes(
    request: EvaluationRequest,
    *,
    on_attribute: Callable[[str, Any, FailedEvaluationError | None], None],
    tell: Callable[[NixMessage], None] | None = None,
) -> None:
    """Call ``on_attribute`` with each attribute of the value, a set: its name, its value, its failure.

    Each comes as soon as it is known; the limits are those of one attribute. Raises FailedEvaluationError
    where the set itself cannot be evaluated, InputError.
    """
    from pynix_eval_shim import evaluate_each

    def take(attribute: Attribute) -> None:
        error = attribute.error
        failure = None if error is None else FailedEvaluationError(error, source=_find_source(request))
        on_attribute(attribute.name, attribute.value, failure)

    arguments = _find_arguments(request)
    with _typed_failures(request):
        evaluate_each(request.expression, **arguments, on_attribute=take, tell=tell)


def _find_arguments(request: EvaluationRequest) -> dict[str, Any]:
    """The arguments of the shim's ``evaluate`` but for the expression. Raises InputError."""
    from pynix_eval_shim import NO_DATA, Limits

    default = Limits()
    nix_path, inputs = _find_nixpkgs(request)
    nix_path |= request.search_path
    if request.file is not None and not request.file.exists():
        raise InputError(f"{request.file}: no such file")
    return {
        "file": request.file,
        "installable": request.flake,
        "apply": request.apply,
        "data": NO_DATA if request.data is UNSET else request.data,
        "impure": request.impure or bool(nix_path),
        "nix_path": nix_path or None,
        "override_inputs": inputs or None,
        "limits": Limits(
            seconds=default.seconds if request.seconds is None else request.seconds,
            memory_bytes=default.memory_bytes if request.memory_mib is None else request.memory_mib << 20,
        ),
    }


def _find_source(request: EvaluationRequest) -> str | None:
    """The text that positions in «string» mean; None where there is another text beside it."""
    return request.expression if request.apply is None else None


@contextlib.contextmanager
def _typed_failures(request: EvaluationRequest) -> Iterator[None]:
    """Raise the shim's errors as those of ``ectools``."""
    from pynix_eval_shim import DataError, NixError

    try:
        yield
    except DataError as error:
        raise InputError(error.message, hint=error.hint) from error
    except NixError as error:
        raise FailedEvaluationError(error, source=_find_source(request)) from error


def find_unwritable(value: Any, path: str = "the value") -> str | None:
    """The path of a number that JSON has no words for (an infinity), None where there is none."""
    pending = [(path, value)]
    while pending:
        place, item = pending.pop()
        if isinstance(item, float) and not math.isfinite(item):
            return place
        if isinstance(item, list):
            pending += [(f"{place}[{index}]", each) for index, each in enumerate(item)]
        elif isinstance(item, dict):
            pending += [(f"{place}.{name}", each) for name, each in item.items()]
    return None


def _find_nixpkgs(request: EvaluationRequest) -> tuple[dict[str, str], dict[str, str]]:
    """What ``<name>`` means, and the flake's inputs that are replaced."""
    inputs = dict(request.override_inputs)
    if request.flake is not None:
        # Never by the environment: a flake says itself which nixpkgs it wants.
        if request.nixpkgs is not None:
            inputs["nixpkgs"] = f"path:{find_nixpkgs(request.nixpkgs)}"
        return {}, inputs
    if request.expression is not None and not request.impure and request.nixpkgs is None:
        return {}, inputs
    found = find_nixpkgs(request.nixpkgs)
    return ({} if found is None else {"nixpkgs": str(found)}), inputs


def _words(kind: str) -> str:
    """`MissingAttribute` → `missing attribute`."""
    return re.sub(r"(?<=[a-z])(?=[A-Z])", " ", kind).lower() or "nix failed"


def _place(file: str | None, line: int | None, column: int | None) -> str:
    return ":".join(str(part) for part in (file, line, column) if part is not None)


def _excerpt(source: str, line: int | None, column: int | None) -> list[str]:
    """The line of ``source``, and a caret below its column; nothing where there is no such line."""
    lines = source.splitlines()
    if line is None or not 1 <= line <= len(lines):
        return []
    text = lines[line - 1].expandtabs(1)
    shown = [f"  {line:>5} | {text}"]
    if column is not None and column >= 1:
        shown.append(f"        | {' ' * (column - 1)}^")
    return shown
