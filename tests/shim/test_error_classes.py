"""What each class of error carries, and which of them a caller catches by which parent."""

from __future__ import annotations

import inspect
import pickle
from typing import Any

import pytest

import pynix_eval_shim as shim
from pynix_eval_shim import errors
from pynix_eval_shim.errors import BuildFailedError, Frame, MissingSystemFeatureError, NixError, Report

CLASSES = [each for _, each in inspect.getmembers(errors, inspect.isclass) if issubclass(each, NixError)]
PARENTS = {
    errors.LimitError: {"NixTimeoutError", "OutputTooLargeError", "OutOfMemoryError"},
    errors.EvaluationError: {
        *("NixSyntaxError", "ThrownError", "AssertionFailedError", "AbortedError", "MissingAttributeError"),
        *("UndefinedVariableError", "WrongTypeError", "InfiniteRecursionError", "StackOverflowError"),
        *("PurityError", "FetchFailedError", "ImportFromDerivationError", "NoSuchFileError"),
    },
}
REPORT = Report(
    file="/f.nix",
    line=2,
    column=3,
    trace=(Frame(message="while a", file="/f.nix", line=1, column=1), Frame(message="while b")),
    argv=("nix", "eval"),
    stderr="error: m",
)


def test_every_class_can_be_caught_by_its_public_name() -> None:
    assert {each.__name__ for each in CLASSES} <= set(shim.__all__)
    assert all(getattr(shim, each.__name__) is each for each in CLASSES)


@pytest.mark.parametrize("parent", PARENTS)
def test_what_a_caller_catches_together(parent: type[NixError]) -> None:
    below = {each.__name__ for each in CLASSES if issubclass(each, parent) and each is not parent}
    assert below == PARENTS[parent]


@pytest.mark.parametrize("kind", CLASSES)
def test_every_error_carries_its_report(kind: type[NixError]) -> None:
    error = kind("m", report=REPORT)
    assert str(error) == "/f.nix:2:3: m"
    assert (error.message, error.hint) == ("m", None)
    assert (error.file, error.line, error.column) == ("/f.nix", 2, 3)
    assert (error.trace, error.argv, error.stderr) == (REPORT.trace, REPORT.argv, REPORT.stderr)


@pytest.mark.parametrize("kind", CLASSES)
def test_an_error_of_which_only_the_message_is_known(kind: type[NixError]) -> None:
    error = kind("m")
    assert str(error) == "m"
    assert (error.file, error.line, error.column) == (None, None, None)
    assert (error.trace, error.argv, error.stderr) == ((), (), "")


@pytest.mark.parametrize(
    ("error", "fields"),
    [
        (BuildFailedError("m"), {"drv": None, "log": ()}),
        (
            BuildFailedError("m", report=REPORT, drv="/a.drv", log=("x", "y")),
            {"drv": "/a.drv", "log": ("x", "y")},
        ),
        (
            MissingSystemFeatureError("m"),
            {"drv": None, "system": None, "features": frozenset(), "missing": frozenset()},
        ),
        (
            MissingSystemFeatureError(
                "m",
                drv="/a.drv",
                system="x86_64-linux",
                features=frozenset({"kvm", "a"}),
                missing=frozenset({"kvm"}),
            ),
            {"drv": "/a.drv", "system": "x86_64-linux", "features": {"kvm", "a"}, "missing": {"kvm"}},
        ),
    ],
)
def test_what_is_known_of_a_derivation(error: NixError, fields: dict[str, Any]) -> None:
    assert {name: getattr(error, name) for name in fields} == fields
    assert error.hint is None


@pytest.mark.parametrize("kind", CLASSES)
def test_an_error_comes_whole_out_of_a_pool_of_processes(kind: type[NixError]) -> None:
    error = kind("m", report=REPORT)
    copy = pickle.loads(pickle.dumps(error))
    assert type(copy) is kind
    assert (str(copy), vars(copy)) == (str(error), vars(error))
