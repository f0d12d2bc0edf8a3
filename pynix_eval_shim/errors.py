"""Errors, a class for each way in which nix fails: a caller decides by the class, never by the message."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Frame:
    """One step of nix's trace. ``line`` and ``column`` count from 1; a frame may have no position."""

    message: str
    file: str | None = None
    line: int | None = None
    column: int | None = None


@dataclass(frozen=True, kw_only=True)
class Report:
    """What is known of a failure beside its message.

    ``file`` is a path, or ``«string»`` for code that was passed as text. ``trace`` starts at the error and is
    cut after its first hundred frames. ``stderr`` is nix's standard error, readable, without colour, its last
    64 KiB.
    """

    file: str | None = None
    line: int | None = None
    column: int | None = None
    trace: tuple[Frame, ...] = ()
    argv: tuple[str, ...] = ()
    stderr: str = ""


class NixError(Exception):
    """Nix failed in a way that no class below names. ``message`` is nix's, without colour or position."""

    def __init__(self, message: str, *, report: Report | None = None, hint: str | None = None) -> None:
        super().__init__(message)
        report = report or Report()
        self.message = message
        self.hint = hint
        self.file = report.file
        self.line = report.line
        self.column = report.column
        self.trace = report.trace
        self.argv = report.argv
        self.stderr = report.stderr

    def __str__(self) -> str:
        if self.file is None:
            return self.message
        return (
            ":".join(str(part) for part in (self.file, self.line, self.column) if part) + f": {self.message}"
        )


class NixMissingError(NixError):
    """The nix command is not installed, or not on PATH."""


class StoreUnavailableError(NixError):
    """There is no store that this user could write to, and the call needs one."""


class DataError(NixError):
    """A value that was to be handed to nix cannot be: no JSON, or JSON that nix would read differently."""


class LimitError(NixError):
    """The call hit one of its limits and was killed."""


class NixTimeoutError(LimitError):
    """It ran longer than ``Limits.seconds``."""


class OutputTooLargeError(LimitError):
    """It wrote more than ``Limits.output_bytes``."""


class OutOfMemoryError(LimitError):
    """It needed more than ``Limits.memory_bytes``, or the system killed it for want of memory."""


class StoppedError(NixError):
    """The caller stopped it before it was done."""


class EvaluationError(NixError):
    """An expression could not be evaluated, for a reason that no subclass names."""


class NixSyntaxError(EvaluationError):
    """The source is not a Nix expression."""


class ThrownError(EvaluationError):
    """``throw``, as used by ``lib.assertMsg`` and by the module system; ``message`` is what was thrown."""


class AssertionFailedError(EvaluationError):
    """An ``assert`` was false."""


class AbortedError(EvaluationError):
    """``abort``."""


class MissingAttributeError(EvaluationError):
    """A set, or a flake's outputs, lacks the attribute."""


class UndefinedVariableError(EvaluationError):
    """A name is bound nowhere."""


class WrongTypeError(EvaluationError):
    """A value of another type was expected, or a function was called with the wrong arguments."""


class InfiniteRecursionError(EvaluationError):
    """A value is defined by itself."""


class StackOverflowError(EvaluationError):
    """Calls or data are nested too deeply, most often without end."""


class PurityError(EvaluationError):
    """Pure or restricted evaluation forbids what was asked for; ``impure=True`` allows it."""


class NoSuchFileError(EvaluationError):
    """A file or directory that the expression reads or imports is not there."""


class FetchFailedError(EvaluationError):
    """A flake's input, or a file by its address, could not be had: there is no network, or nothing there."""


class ImportFromDerivationError(EvaluationError):
    """The evaluation needs something built first, and was not allowed to build."""


class BuildFailedError(NixError):
    """A derivation did not build. ``drv`` is its path, ``log`` the last lines its builder wrote."""

    def __init__(
        self, message: str, *, report: Report | None = None, drv: str | None = None, log: tuple[str, ...] = ()
    ) -> None:
        super().__init__(message, report=report)
        self.drv = drv
        self.log = log


class MissingSystemFeatureError(NixError):
    """This machine may not build ``drv``: it is of another system, or lacks a feature such as ``kvm``.

    ``system`` and ``features`` are what the derivation requires, ``missing`` the features that this machine
    lacks. A caller that runs tests reports them as skipped, with this as the reason.
    """

    def __init__(
        self,
        message: str,
        *,
        report: Report | None = None,
        drv: str | None = None,
        system: str | None = None,
        features: frozenset[str] = frozenset(),
        missing: frozenset[str] = frozenset(),
    ) -> None:
        super().__init__(message, report=report)
        self.drv = drv
        self.system = system
        self.features = features
        self.missing = missing
