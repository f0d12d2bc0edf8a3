"""From what nix said to one error, rule by rule; what versions really said is in test_recorded."""

from __future__ import annotations

from typing import Any

import pytest

import pynix_eval_shim as shim
from pynix_eval_shim import Frame
from pynix_eval_shim.diagnosis import diagnose
from pynix_eval_shim.messages import Diagnostics, Fault
from pynix_eval_shim.process import Finished, describe_signal

THROW = Frame(message="while calling the 'throw' builtin")
ASSERTION = Frame(message="while evaluating the condition of the assertion 'a'", file="/a", line=1, column=2)


def finish(returncode: int = 1) -> Finished:
    return Finished(argv=("nix", "eval"), returncode=returncode, stdout=b"", stderr=b"")


def error_of(
    *faults: Fault,
    text: str = "all of it",
    names_builtins: bool | None = True,
    returncode: int = 1,
    **more: Any,
) -> shim.NixError:
    def ask() -> bool:
        assert names_builtins is not None, "the version was asked for, and does not matter"
        return names_builtins

    diagnostics = Diagnostics(faults=list(faults), text=text, **more)
    return diagnose(finish(returncode), diagnostics, names_builtins=ask)


class TestSilence:
    @pytest.mark.parametrize(
        ("text", "returncode", "kind", "message"),
        [
            ("", 7, shim.NixError, "nix ended with exit status 7"),
            ("one\ntwo\n\n", 7, shim.NixError, "nix ended with exit status 7: two"),
            ("", -11, shim.NixError, "nix was killed by SIGSEGV"),
            ("last", 139, shim.NixError, "nix was killed by SIGSEGV: last"),
            ("x", -9, shim.OutOfMemoryError, "nix was killed by SIGKILL, most likely because"),
            ("x", 137, shim.OutOfMemoryError, "nix was killed by SIGKILL, most likely because"),
            (" std::bad_alloc \nlater", 134, shim.OutOfMemoryError, "std::bad_alloc"),
            ("out of memory\nerror: out of memory, again", 1, shim.OutOfMemoryError, "out of memory"),
            ("x: failed to map segment from shared object", 127, shim.OutOfMemoryError, "x: failed to map"),
            ("undefined variable 'x'", 1, shim.NixError, "nix ended with exit status 1: undefined"),
        ],
    )
    def test_a_nix_that_named_no_error(
        self, text: str, returncode: int, kind: type[shim.NixError], message: str
    ) -> None:
        error = error_of(text=text, returncode=returncode)
        assert type(error) is kind
        assert error.message.startswith(message)
        assert (error.argv, error.stderr) == (("nix", "eval"), text)

    def test_of_several_lines_on_memory_it_is_the_last(self) -> None:
        error = error_of(text="out of memory: a\nx: Cannot allocate memory\nb")
        assert error.message == "x: Cannot allocate memory"


class TestOneOfSeveral:
    def test_an_evaluations_cause_comes_last(self) -> None:
        error = error_of(Fault(message="first", marked=True), Fault(message="second", marked=True))
        assert error.message == "second"

    def test_a_builds_cause_comes_first(self) -> None:
        failed = Fault(message="builder for '/a.drv' failed with exit code 1", marked=True)
        pulled = Fault(message="1 dependencies of derivation '/b.drv' failed to build", marked=True)
        other = Fault(message="builder for '/c.drv' failed with exit code 2", marked=True)
        for faults in ((pulled, failed, other), (failed, other, pulled), (other, failed)):
            error = error_of(*faults)
            assert isinstance(error, shim.BuildFailedError)
            assert error.drv == ("/c.drv" if faults[0] is other else "/a.drv")
        # Where there is nothing but what was pulled down, it is that.
        error = error_of(Fault(message="x", marked=True), pulled)
        assert isinstance(error, shim.BuildFailedError)
        assert error.drv == "/b.drv"

    def test_a_feature_that_is_missing_is_a_cause(self) -> None:
        missing = Fault(
            message="a 'x' with features {k} is required to build '/a.drv', but I am a 'x' with features {}",
            marked=True,
        )
        assert isinstance(error_of(missing, Fault(message="y", marked=True)), shim.MissingSystemFeatureError)


class TestThrown:
    @pytest.mark.parametrize("message", ["while calling the 'throw' builtin", "caused by explicit throw: x"])
    def test_by_its_innermost_frame_whatever_it_says(self, message: str) -> None:
        frame = Frame(message=message)
        fault = Fault(message="undefined variable 'x'", marked=True, trace=(frame,))
        assert type(error_of(fault, names_builtins=None)) is shim.ThrownError
        further_out = Fault(message="undefined variable 'x'", marked=True, trace=(Frame(message="f"), frame))
        assert type(error_of(further_out, names_builtins=None)) is shim.UndefinedVariableError

    def test_where_frames_do_not_name_builtins_it_is_what_nix_did_not_word(self) -> None:
        fault = Fault(message="undefined variable 'x'")
        assert type(error_of(fault, names_builtins=False)) is shim.ThrownError
        assert type(error_of(fault, names_builtins=True)) is shim.UndefinedVariableError

    @pytest.mark.parametrize(
        "fault",
        [
            Fault(message="undefined variable 'x'", marked=True),
            Fault(message="undefined variable 'x'", placed=True),
            Fault(message="[json.exception.parse_error.101] x"),
            Fault(message="unable to download 'x'"),
            Fault(message="expression does not evaluate to a derivation (or a set of them)"),
            Fault(message="derivation name missing"),
            Fault(message="x", trace=(Frame(message="a"), Frame(message="while calling the 'map' builtin"))),
            Fault(message="x", trace=(Frame(message="while decoding a JSON string"),)),
            Fault(message="x", trace=(Frame(message="while fetching the input 'y'"),)),
        ],
    )
    def test_nixs_own_words_are_not_thrown(self, fault: Fault) -> None:
        # Not even asked for: a version costs a process.
        assert type(error_of(fault, names_builtins=None)) is not shim.ThrownError

    def test_a_frame_further_out_does_not_tell(self) -> None:
        trace = (Frame(message="a"), Frame(message="while decoding a JSON string"))
        assert type(error_of(Fault(message="x", trace=trace), names_builtins=False)) is shim.ThrownError


class TestAssertions:
    @pytest.mark.parametrize(
        "between",
        [
            (),
            ("while comparing two attribute sets",),
            ("while comparing x", "where left hand side is a", "where right hand side is b"),
        ],
    )
    def test_by_a_frame_below_which_nothing_but_a_comparison_stands(self, between: tuple[str, ...]) -> None:
        trace = (*(Frame(message=message) for message in between), ASSERTION, Frame(message="outside"))
        error = error_of(Fault(message="x", marked=True, trace=trace))
        assert type(error) is shim.AssertionFailedError

    def test_an_error_within_a_condition_is_that_error(self) -> None:
        trace = (Frame(message="while calling 'f'"), ASSERTION)
        error = error_of(Fault(message="undefined variable 'x'", marked=True, trace=trace))
        assert type(error) is shim.UndefinedVariableError
        only = (Frame(message="while comparing x"),)
        assert type(error_of(Fault(message="y", marked=True, trace=only))) is shim.EvaluationError


class TestBuilds:
    LOGS = {"/a.drv": ["one", "two"], "/b.drv": ["three"]}  # noqa: RUF012  (what no test changes)

    @pytest.mark.parametrize(
        ("message", "drv", "log"),
        [
            ("builder for '/a.drv' failed", "/a.drv", ("one", "two")),
            ("Cannot build '/a.drv'.\nReason: builder failed", "/a.drv", ("one", "two")),
            ("hash mismatch in fixed-output derivation '/b.drv':", "/b.drv", ("three",)),
            ("build of '/c.drv' failed", "/c.drv", ()),
            ("derivation '/a.drv' x", "/a.drv", ("one", "two")),
            ("failed to build attribute 'x', build of '/b.drv' failed", "/b.drv", ("three",)),
            ("2 dependencies of derivation '/b.drv' failed to build", "/b.drv", ("three",)),
            ("1 dependency of derivation '/b.drv' failed to build", "/b.drv", ("three",)),
            ("Cannot build '/b.drv'.\nReason: 1 dependency failed.", "/b.drv", ("three",)),
        ],
    )
    def test_what_failed_and_its_log(self, message: str, drv: str, log: tuple[str, ...]) -> None:
        error = error_of(Fault(message=message, marked=True), logs=self.LOGS)
        assert isinstance(error, shim.BuildFailedError)
        assert (error.drv, error.log, error.message) == (drv, log, message)

    def test_what_names_no_derivation_is_no_build(self) -> None:
        assert type(error_of(Fault(message="builder for '/a' failed", marked=True))) is shim.NixError

    def test_a_path_that_was_not_built_for_the_evaluation(self) -> None:
        realising = Frame(message="while realising the context of path '/a'")
        trace = (Frame(message="f"), realising)
        for message, frames, kind in (
            ("path '/nix/store/x' is not valid", trace, shim.ImportFromDerivationError),
            ("path '/nix/store/x' is not valid", trace[:1], shim.EvaluationError),
            ("path '/nix/store/x' is not a path", trace, shim.EvaluationError),
            ("store '/nix/store/x' is not valid", trace, shim.EvaluationError),
        ):
            assert type(error_of(Fault(message=message, marked=True, trace=frames))) is kind

    @pytest.mark.parametrize(
        ("message", "fields"),
        [
            (
                "a 'x' with features {a, b} is required to build '/d.drv', but I am a 'y' with features {b}",
                ("x", {"a", "b"}, {"a"}),
            ),
            (
                (
                    "Cannot build '/d.drv'.\nReason: required system or feature not available\n"
                    "Required system: 'x' with features {a}\nCurrent system: 'y' with features {}"
                ),
                ("x", {"a"}, {"a"}),
            ),
            (
                "Cannot build '/d.drv'.\nReason: platform mismatch\nRequired system: 'x'\nCurrent system: ''",
                ("x", set(), set()),
            ),
            (
                (
                    "Cannot build '/d.drv'.\nReason: missing system features\n"
                    "Required features: {a, b}\nAvailable features: {b}"
                ),
                (None, {"a", "b"}, {"a"}),
            ),
        ],
    )
    def test_a_machine_that_may_not_build_it(self, message: str, fields: tuple[Any, ...]) -> None:
        error = error_of(Fault(message=message, marked=True))
        assert isinstance(error, shim.MissingSystemFeatureError)
        assert error.drv == "/d.drv"
        assert (error.system, error.features, error.missing) == fields
        assert error.message == message


class TestRest:
    def test_the_error_carries_all_that_is_known(self) -> None:
        fault = Fault(
            message="undefined variable 'x'",
            marked=True,
            file="/a",
            line=3,
            column=4,
            trace=(ASSERTION, THROW),
        )
        error = error_of(
            Fault(
                message="infinite recursion encountered",
                marked=True,
                file="/a",
                line=3,
                column=4,
                trace=(THROW,)[:0],
            )
        )
        assert (error.file, error.line, error.column, error.stderr) == ("/a", 3, 4, "all of it")
        assert str(error) == "/a:3:4: infinite recursion encountered"
        assert error_of(fault).trace == (ASSERTION, THROW)
        assert error.argv == ("nix", "eval")

    def test_an_unknown_error_is_of_the_evaluation_where_it_has_a_place_or_a_trace(self) -> None:
        assert type(error_of(Fault(message="x", marked=True))) is shim.NixError
        assert type(error_of(Fault(message="x", marked=True, file="/a"))) is shim.EvaluationError
        frames = (Frame(message="f"),)
        assert type(error_of(Fault(message="x", marked=True, trace=frames))) is shim.EvaluationError

    @pytest.mark.parametrize(
        "message",
        [
            "getting status of '/a': No such file or directory",
            "getting status of '/a/b': Not a directory",
            "opening directory '/a': No such file or directory",
            "reading directory /a: No such file or directory",
            "path '/a' does not exist",
        ],
    )
    def test_a_missing_file_is_one_unless_an_input_was_fetched(self, message: str) -> None:
        assert type(error_of(Fault(message=message, marked=True))) is shim.NoSuchFileError
        fetching = (Frame(message="while fetching the input 'x'"),)
        assert type(error_of(Fault(message=message, marked=True, trace=fetching))) is shim.FetchFailedError

    def test_an_unknown_error_of_an_input_is_of_fetching(self) -> None:
        fetching = Frame(message="while fetching the input 'x'")
        fault = Fault(message="x", marked=True, trace=(fetching, Frame(message="f")))
        assert type(error_of(fault)) is shim.FetchFailedError
        fault = Fault(message="x", marked=True, trace=(Frame(message="f"), fetching))
        assert type(error_of(fault)) is shim.EvaluationError


@pytest.mark.parametrize(
    ("returncode", "name"),
    [
        (-9, "SIGKILL"),
        (-1, "SIGHUP"),
        (137, "SIGKILL"),
        (129, "SIGHUP"),
        (128, None),
        (0, None),
        (1, None),
        (9, None),
        (255, None),
    ],
)
def test_a_signal_by_the_status(returncode: int, name: str | None) -> None:
    assert describe_signal(returncode) == name


@pytest.mark.parametrize(
    ("report", "text"),
    [
        (shim.Report(), "m"),
        (shim.Report(file="/a"), "/a: m"),
        (shim.Report(file="/a", line=2), "/a:2: m"),
        (shim.Report(file="/a", line=2, column=3), "/a:2:3: m"),
        (shim.Report(line=2, column=3), "m"),
    ],
)
def test_an_errors_text_begins_with_its_place(report: shim.Report, text: str) -> None:
    error = shim.NixError("m", report=report, hint="h")
    assert str(error) == text
    assert (error.message, error.hint, error.args) == ("m", "h", ("m",))
