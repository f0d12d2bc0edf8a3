"""The nix command as a library: JSON in and out, hard limits, and a class of error for each way to fail.

It needs the nix command (Nix 2.8 or later, or Lix), Python's standard library and nothing else: no daemon, no
root, no network, no channel.

``evaluation`` values, ``attributes`` those of a set one by one · ``building`` derivations and flake checks ·
``flakes`` where a flake and its inputs are · ``closures`` what a store path needs · ``probing`` which nix
this is · ``invocation`` how nix is started, ``process`` where it is, within ``limits`` · ``source`` text for
nix to read · ``messages`` its standard error · ``diagnosis`` → ``errors``.

    >>> from pynix_eval_shim import evaluate
    >>> evaluate("{ name, n }: { hello = ''Hello, ${name}''; twice = n * 2; }", data={"name": "$", "n": 21})
    {'hello': 'Hello, $', 'twice': 42}
"""

from pynix_eval_shim.attributes import Attribute, evaluate_each
from pynix_eval_shim.building import Built, FlakeCheck, build, flake_check
from pynix_eval_shim.closures import find_modified, path_hashes, requisites
from pynix_eval_shim.errors import (
    AbortedError,
    AssertionFailedError,
    BuildFailedError,
    DataError,
    EvaluationError,
    FetchFailedError,
    Frame,
    ImportFromDerivationError,
    InfiniteRecursionError,
    LimitError,
    MissingAttributeError,
    MissingSystemFeatureError,
    NixError,
    NixMissingError,
    NixSyntaxError,
    NixTimeoutError,
    NoSuchFileError,
    OutOfMemoryError,
    OutputTooLargeError,
    PurityError,
    Report,
    StackOverflowError,
    StoppedError,
    StoreUnavailableError,
    ThrownError,
    UndefinedVariableError,
    WrongTypeError,
)
from pynix_eval_shim.evaluation import NO_DATA, evaluate, parse
from pynix_eval_shim.flakes import FlakeMetadata, flake_metadata
from pynix_eval_shim.invocation import Nix
from pynix_eval_shim.limits import BUILD_LIMITS, Limits
from pynix_eval_shim.messages import BuildEvent, BuildProgress, NixMessage, NixMessageKind
from pynix_eval_shim.probing import Implementation, Probe, probe

__all__ = [
    "BUILD_LIMITS",
    "NO_DATA",
    "AbortedError",
    "AssertionFailedError",
    "Attribute",
    "BuildEvent",
    "BuildFailedError",
    "BuildProgress",
    "Built",
    "DataError",
    "EvaluationError",
    "FetchFailedError",
    "FlakeCheck",
    "FlakeMetadata",
    "Frame",
    "Implementation",
    "ImportFromDerivationError",
    "InfiniteRecursionError",
    "LimitError",
    "Limits",
    "MissingAttributeError",
    "MissingSystemFeatureError",
    "Nix",
    "NixError",
    "NixMessage",
    "NixMessageKind",
    "NixMissingError",
    "NixSyntaxError",
    "NixTimeoutError",
    "NoSuchFileError",
    "OutOfMemoryError",
    "OutputTooLargeError",
    "Probe",
    "PurityError",
    "Report",
    "StackOverflowError",
    "StoppedError",
    "StoreUnavailableError",
    "ThrownError",
    "UndefinedVariableError",
    "WrongTypeError",
    "build",
    "evaluate",
    "evaluate_each",
    "find_modified",
    "flake_check",
    "flake_metadata",
    "parse",
    "path_hashes",
    "probe",
    "requisites",
]
