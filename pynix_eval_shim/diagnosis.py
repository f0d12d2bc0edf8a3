"""One typed error from nix's diagnostics: by the frames of its trace first, then by its message's wording.

The wordings are those of Nix 2.8 to 2.36 and of Lix 2.90 to 2.95; tests/shim/recorded holds samples of them.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from pynix_eval_shim import errors
from pynix_eval_shim.errors import Frame, NixError, Report
from pynix_eval_shim.process import describe_signal

if TYPE_CHECKING:
    from collections.abc import Callable

    from pynix_eval_shim.messages import Diagnostics, Fault
    from pynix_eval_shim.process import Finished

_THROW_FRAMES = ("while calling the 'throw' builtin", "caused by explicit throw")
_BUILTIN_FRAME = "while calling the '"
_ASSERTION_FRAME = "while evaluating the condition of the assertion"
# What nix adds between an assertion and the two parts of it that differ (from 2.26 on).
_COMPARISON_FRAMES = ("while comparing ", "where left hand side is", "where right hand side is")
_FETCHING_FRAME = "while fetching the input '"
_REALISING_FRAME = "while realising the context of path"

_EVALUATION: tuple[tuple[str, type[NixError]], ...] = (
    (r"syntax error[,:]", errors.NixSyntaxError),
    (r"(attribute '.*' already defined at|duplicate formal function argument)", errors.NixSyntaxError),
    (r"dynamic attributes? not allowed in", errors.NixSyntaxError),
    (r"path (?:'.*' )?has a trailing slash", errors.NixSyntaxError),
    (r"invalid (integer|float)\b", errors.NixSyntaxError),
    (r"undefined variable '", errors.UndefinedVariableError),
    (r"evaluation aborted", errors.AbortedError),
    (r"assertion (?:'.*' )?failed", errors.AssertionFailedError),
    (r"(?:required )?attribute '.*' (?:is )?missing\b", errors.MissingAttributeError),
    (r"attribute '.*' in selection path '.*' not found", errors.MissingAttributeError),
    (r"flake '.*' does not provide attribute", errors.MissingAttributeError),
    (r"infinite recursion encountered", errors.InfiniteRecursionError),
    (r"stack overflow", errors.StackOverflowError),
    (r".*\bpure eval(uation)?( mode)?\b", errors.PurityError),
    (r".*\bis forbidden in restricted mode", errors.PurityError),
    (r"cannot build '.*' during evaluation", errors.ImportFromDerivationError),
    (r"path '.*' did not exist in the store during evaluation", errors.ImportFromDerivationError),
    (r"value is .* while .* was expected", errors.WrongTypeError),
    (r"expected .* but found ", errors.WrongTypeError),
    (r"attempt to call something which is not a function", errors.WrongTypeError),
    (r".* called (without required|with unexpected) argument", errors.WrongTypeError),
    (r"cannot (coerce|convert|compare|add) .* (to|with)\b", errors.WrongTypeError),
    (r"'\S+' requires a function", errors.WrongTypeError),
    # Up to 2.18 and Lix, what the system said; later, nix's own words.
    (
        r"(getting status of|opening|reading) .*: (No such file or directory|Not a directory)",
        errors.NoSuchFileError,
    ),
    (r"(path|file) '.*' does not exist", errors.NoSuchFileError),
    (r"unable to download '", errors.FetchFailedError),
    (r"out of memory|.*\bCannot allocate memory|.*std::bad_alloc", errors.OutOfMemoryError),
    (r".*failed to map segment from shared object", errors.OutOfMemoryError),
    (r".*\[json\.exception\.", errors.EvaluationError),
)
# Messages of nix's own that have neither a mark nor a position.
_UNMARKED = re.compile(
    r"\[json\.exception|unable to download '"
    r"|expression does not evaluate to a derivation|derivation name missing"
)
_WORDS = tuple((re.compile(words, re.DOTALL), kind) for words, kind in _EVALUATION)

_FEATURES = (
    # Up to 2.28, and Lix.
    re.compile(
        r"a '(?P<system>[^']*)' with features \{(?P<features>[^}]*)\} is required to build '(?P<drv>[^']*)',"
        r" but I am a '(?P<own>[^']*)' with features \{(?P<available>[^}]*)\}"
    ),
    # From 2.29 on.
    re.compile(
        r"Cannot build '(?P<drv>[^']*)'\.\s+Reason: required system or feature not available\s+"
        r"Required system: '(?P<system>[^']*)' with features \{(?P<features>[^}]*)\}\s+"
        r"Current system: '(?P<own>[^']*)' with features \{(?P<available>[^}]*)\}"
    ),
    # From 2.34 on, each half only where it is the reason.
    re.compile(
        r"Cannot build '(?P<drv>[^']*)'\.(?=.*Reason: (?:platform mismatch|missing system features))"
        r"(?:.*Required system: '(?P<system>[^']*)'\s+Current system: '(?P<own>[^']*)')?"
        r"(?:.*Required features: \{(?P<features>[^}]*)\}\s+Available features: \{(?P<available>[^}]*)\})?",
        re.DOTALL,
    ),
)
_DEPENDENCY = re.compile(
    r"\d+ dependenc\w+ of derivation '(?P<drv>[^']*)' failed to build"
    r"|Cannot build '(?P<drv2>[^']*)'\.\s+Reason: \d+ dependenc\w+ failed"
)
_BUILD = re.compile(
    r"(?:failed to build attribute '[^']*', )?"
    r"(?:builder for|Cannot build|hash mismatch in fixed-output derivation|build of|derivation) "
    r"'(?P<drv>/[^']*\.drv)"
)


def diagnose(finished: Finished, diagnostics: Diagnostics, *, names_builtins: Callable[[], bool]) -> NixError:
    """The error of a nix that ended with a status other than 0.

    ``names_builtins`` is asked only where the answer matters: whether this nix has frames that name builtins
    (2.13 and later, and Lix), so that a ``throw`` is known by its frame.
    """
    if not diagnostics.faults:
        return _silent(finished, diagnostics)
    found = [_typed(fault, finished, diagnostics, names_builtins) for fault in diagnostics.faults]
    # A build reports its cause first, and then what failed because of it; all else reports the cause last.
    for error, fault in zip(found, diagnostics.faults, strict=True):
        is_cause = isinstance(error, (errors.BuildFailedError, errors.MissingSystemFeatureError))
        if is_cause and _DEPENDENCY.search(fault.message) is None:
            return error
    return found[-1]


def _silent(finished: Finished, diagnostics: Diagnostics) -> NixError:
    report = Report(argv=finished.argv, stderr=diagnostics.text)
    for line in reversed(diagnostics.text.splitlines()):
        for words, kind in _WORDS:
            if issubclass(kind, errors.OutOfMemoryError) and words.match(line):
                return kind(line.strip(), report=report)
    how = describe_signal(finished.returncode)
    if how == "SIGKILL":
        return errors.OutOfMemoryError(
            "nix was killed by SIGKILL, most likely because the system ran out of memory", report=report
        )
    last = diagnostics.text.strip().rpartition("\n")[2]
    ending = (
        f"nix ended with exit status {finished.returncode}" if how is None else f"nix was killed by {how}"
    )
    return NixError(f"{ending}: {last}" if last else ending, report=report)


def _typed(
    fault: Fault, finished: Finished, diagnostics: Diagnostics, names_builtins: Callable[[], bool]
) -> NixError:
    report = Report(
        file=fault.file,
        line=fault.line,
        column=fault.column,
        trace=fault.trace,
        argv=finished.argv,
        stderr=diagnostics.text,
    )
    first = fault.trace[0].message if fault.trace else ""
    if first.startswith(_THROW_FRAMES):
        return errors.ThrownError(fault.message, report=report)
    if _failed_assertion(fault.trace):
        return errors.AssertionFailedError(fault.message, report=report)
    if _could_be_thrown(fault) and not names_builtins():
        return errors.ThrownError(fault.message, report=report)
    built = _build_error(fault, diagnostics, report)
    if built is not None:
        return built
    for words, kind in _WORDS:
        if words.match(fault.message):
            if kind is errors.NoSuchFileError and first.startswith(_FETCHING_FRAME):
                kind = errors.FetchFailedError  # noqa: PLW2901 - an input that is a path is fetched as well
            return kind(fault.message, report=report)
    kind = errors.EvaluationError if fault.trace or fault.file else NixError
    kind = errors.FetchFailedError if first.startswith(_FETCHING_FRAME) else kind
    return kind(fault.message, report=report)


def _failed_assertion(trace: tuple[Frame, ...]) -> bool:
    for frame in trace:
        if frame.message.startswith(_ASSERTION_FRAME):
            return True
        if not frame.message.startswith(_COMPARISON_FRAMES):
            return False
    return False


def _could_be_thrown(fault: Fault) -> bool:
    """Whether the message may be a user's: nix places or colours nearly all that it words itself."""
    return (
        not (fault.marked or fault.placed or _UNMARKED.match(fault.message))
        and not any(frame.message.startswith(_BUILTIN_FRAME) for frame in fault.trace)
        and not (fault.trace and fault.trace[0].message.startswith(("while decoding", _FETCHING_FRAME)))
    )


def _build_error(fault: Fault, diagnostics: Diagnostics, report: Report) -> NixError | None:
    for words in _FEATURES:
        match = words.search(fault.message)
        if match is not None:
            return _missing_feature(fault, match, report)
    match = _DEPENDENCY.search(fault.message)
    if match is None:
        match = _BUILD.match(fault.message)
    if match is None:
        invalid = fault.message.startswith("path '") and fault.message.endswith("' is not valid")
        if invalid and any(frame.message.startswith(_REALISING_FRAME) for frame in fault.trace):
            return errors.ImportFromDerivationError(fault.message, report=report)
        return None
    drv = next(group for group in match.groups() if group)
    return errors.BuildFailedError(
        fault.message, report=report, drv=drv, log=tuple(diagnostics.logs.get(drv, ()))
    )


def _missing_feature(fault: Fault, match: re.Match[str], report: Report) -> NixError:
    def names(group: str) -> frozenset[str]:
        return frozenset(name.strip() for name in (match[group] or "").split(",") if name.strip())

    return errors.MissingSystemFeatureError(
        fault.message,
        report=report,
        drv=match["drv"],
        system=match["system"],
        features=names("features"),
        missing=names("features") - names("available"),
    )
