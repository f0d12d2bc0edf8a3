"""``ectools eval``, ``options``, ``verify-closure``, ``vmtest``: what is asked and printed; Nix is a fake."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
from support.rebuilding import HASH, make_key

from ectools.checks.closure import Closure, ClosureSource
from ectools.checks.evaluation import EvaluationRequest, FailedEvaluationError
from ectools.checks.host_options import HostOption, ResultKind
from ectools.checks.vmtest import VmTest
from ectools.checks.vmtest_run import Listener, Preparation, Schedule, Verdict, VmTestOutcome
from ectools.checks.vmtest_steps import StepKind
from ectools.cli import eval as eval_command
from ectools.cli import options as options_command
from ectools.cli import verify_closure, vmtest
from ectools.errors import UNSET
from ectools.netboot.publishing.rebuilt import open_rebuilt
from pynix_eval_shim import MissingAttributeError, NixMessage, NixMessageKind

if TYPE_CHECKING:
    from collections.abc import Callable

    from conftest import Program

PATHS = [f"/nix/store/{letter * 32}-{name}" for letter, name in (("a", "x"), ("b", "x"), ("c", "y"))]
SYSTEM = f"/nix/store/{'d' * 32}-nixos-system-host"


class TestEval:
    @pytest.fixture
    def asked(self, monkeypatch: pytest.MonkeyPatch) -> list[EvaluationRequest]:
        requests: list[EvaluationRequest] = []

        def evaluate(request: EvaluationRequest, *, tell: Callable[[NixMessage], None]) -> Any:
            requests.append(request)
            if request.expression == "loud":
                tell(NixMessage(kind=NixMessageKind.WARNING, text="careful"))
                tell(NixMessage(kind=NixMessageKind.TRACE, text="a\nb"))
            if request.expression == "bad":
                raise FailedEvaluationError(MissingAttributeError("no b"))
            return [math.inf] if request.expression == "inf" else {"a": "é"}

        monkeypatch.setattr(eval_command, "evaluate_request", evaluate)
        return requests

    def test_a_value_as_nix_and_as_json(self, program: Program, asked: list[EvaluationRequest]) -> None:
        status, out, err = program(eval_command.COMMAND, "--expr", "1")
        assert (status, out.split(), err) == (0, ["{", "a", "=", '"é";', "}"], "")
        status, out, _ = program(eval_command.COMMAND, "--expr", "1", "--json")
        assert (status, out) == (0, '{\n  "a": "é"\n}\n')
        assert asked[0] == EvaluationRequest(expression="1")
        assert asked[0].data is UNSET

    @pytest.mark.usefixtures("asked")
    def test_what_an_evaluation_prints_goes_to_standard_error(self, program: Program) -> None:
        status, out, err = program(eval_command.COMMAND, "--expr", "loud", "--json")
        assert (status, json.loads(out), err) == (0, {"a": "é"}, "warning: careful\ntrace: a\nb\n")

    def test_all_that_can_be_asked_for(
        self, program: Program, asked: list[EvaluationRequest], tmp_path: Path
    ) -> None:
        (tmp_path / "d.json").write_text("null")
        words = "--flake r#a --apply f --impure --nixpkgs /n --override-input i j --timeout 2.5 --memory 7"
        assert program(eval_command.COMMAND, *words.split(), "--data", tmp_path / "d.json")[0] == 0
        assert asked == [
            EvaluationRequest(
                flake="r#a",
                apply="f",
                data=None,
                impure=True,
                nixpkgs="/n",
                override_inputs={"i": "j"},
                seconds=2.5,
                memory_mib=7,
            )
        ]

    @pytest.mark.parametrize(
        "arguments",
        [
            [],
            ["--expr", "1", "--file", "x"],
            ["--expr", "1", "--override-input", "a", "b"],
            ["--expr", "1", "--timeout", "0"],
            ["--expr", "1", "--timeout", "inf"],
            ["--expr", "1", "--memory", "0"],
        ],
    )
    def test_bad_usage(self, program: Program, asked: list[EvaluationRequest], arguments: list[str]) -> None:
        assert program(eval_command.COMMAND, *arguments)[0] == 2
        assert asked == []

    def test_a_failure(self, program: Program, asked: list[EvaluationRequest]) -> None:
        assert asked == []
        status, out, err = program(eval_command.COMMAND, "--expr", "bad")
        assert (status, out, err) == (1, "", "ectools: missing attribute: no b\n")
        status, out, err = program(eval_command.COMMAND, "--expr", "bad", "--json")
        assert (status, err) == (1, "")
        assert json.loads(out)["error"]["class"] == "MissingAttributeError"

    def test_an_infinity(self, program: Program, asked: list[EvaluationRequest]) -> None:
        assert asked == []
        assert program(eval_command.COMMAND, "--expr", "inf")[:2] == (0, "[inf]\n")
        status, out, err = program(eval_command.COMMAND, "--expr", "inf", "--json")
        assert (status, out) == (1, "")
        assert "the value[0]: JSON has no infinity" in err

    def test_attributes_one_by_one(self, program: Program, monkeypatch: pytest.MonkeyPatch) -> None:
        def attributes(request: EvaluationRequest, *, on_attribute: Any, tell: Any) -> None:
            tell(NixMessage(kind=NixMessageKind.WARNING, text="careful"))
            on_attribute("a", {"n": "é"}, None)
            if request.expression == "bad":
                on_attribute("b", None, FailedEvaluationError(MissingAttributeError("no b")))
                on_attribute("c", [math.inf], None)

        monkeypatch.setattr(eval_command, "evaluate_attributes", attributes)
        assert program(eval_command.COMMAND, "--expr", "1", "--each") == (
            0,
            '{"attr": "a", "value": {"n": "é"}}\n',
            "warning: careful\n",
        )
        status, out, err = program(eval_command.COMMAND, "--expr", "bad", "--each", "--json")
        lines = [json.loads(line) for line in out.splitlines()]
        assert (status, [line["attr"] for line in lines]) == (1, ["a", "b", "c"])
        assert [line.get("error", {}).get("message") for line in lines] == [
            None,
            "no b",
            "the value[0]: JSON has no infinity",
        ]
        assert err == "warning: careful\n2 of 3 attributes could not be evaluated\n"


def closure(origin: ClosureSource, *paths: str, toplevel: str = SYSTEM) -> Closure:
    return Closure(origin=origin, source="s", toplevel=toplevel, paths=frozenset(paths))


class TestVerifyClosure:
    def run(self, program: Program, monkeypatch: pytest.MonkeyPatch, other: Closure, *arguments: str) -> Any:
        calls: dict[str, Any] = {}

        def rebuild(flake: str, name: str, *, override_inputs: dict[str, str]) -> Closure:
            calls["rebuild"] = (flake, name, override_inputs)
            return closure(ClosureSource.REBUILT, PATHS[0], PATHS[2], SYSTEM)

        monkeypatch.setattr(verify_closure, "rebuild_closure", rebuild)
        monkeypatch.setattr(verify_closure, "read_running", lambda _system: other)
        monkeypatch.setattr(verify_closure, "read_published", lambda _path: other)
        monkeypatch.setattr(verify_closure, "find_damaged", lambda _closure: (PATHS[2],))
        return program(verify_closure.COMMAND, *arguments), calls

    def test_the_same(self, program: Program, monkeypatch: pytest.MonkeyPatch) -> None:
        same = closure(ClosureSource.RUNNING, PATHS[0], PATHS[2], SYSTEM)
        (status, out, _), calls = self.run(program, monkeypatch, same, "host", "--override-input", "a", "b")
        assert (status, out.splitlines()[-1]) == (0, "the same")
        assert out.splitlines()[0] == f"rebuilt:   {SYSTEM}, 3 store paths (s)"
        assert calls["rebuild"] == ("/etc/every-channel/flake", "host", {"a": "b"})

    def test_they_differ(self, program: Program, monkeypatch: pytest.MonkeyPatch) -> None:
        other = closure(ClosureSource.RUNNING, PATHS[1], PATHS[2], SYSTEM)
        (status, out, _), _ = self.run(program, monkeypatch, other, "host")
        assert status == 1
        assert out.splitlines()[2:] == [
            "changed x",
            f"  rebuilt:   {PATHS[0]}",
            f"  running:   {PATHS[1]}",
            "they differ: 1 changed, 0 added, 0 removed",
        ]

    def test_damage_is_no_equality(self, program: Program, monkeypatch: pytest.MonkeyPatch) -> None:
        same = closure(ClosureSource.RUNNING, PATHS[0], PATHS[2], SYSTEM)
        (status, out, _), _ = self.run(program, monkeypatch, same, "host", "--contents", "--json")
        assert (status, json.loads(out)["damaged"]) == (1, [PATHS[2]])
        (status, out, _), _ = self.run(program, monkeypatch, same, "host", "--contents")
        assert (status, f"damaged {PATHS[2]}" in out.splitlines()) == (1, True)

    def test_what_is_the_same_is_signed(
        self, program: Program, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        private, public = make_key()
        (tmp_path / "key").write_bytes(private)
        hashes = dict.fromkeys((PATHS[0], PATHS[2], SYSTEM), HASH)
        monkeypatch.setattr(verify_closure, "read_hashes", lambda _closure: hashes)
        signing = ("--sign", str(tmp_path / "key"), "--signature-format", "openssl")
        out = tmp_path / "statement"
        other = closure(ClosureSource.RUNNING, PATHS[1], PATHS[2], SYSTEM)
        (status, _, _), _ = self.run(program, monkeypatch, other, "host", *signing, "-o", str(out))
        assert (status, out.exists()) == (1, False)
        same = closure(ClosureSource.RUNNING, *hashes)
        (status, _, _), _ = self.run(program, monkeypatch, same, "host", *signing, "-o", str(out))
        assert status == 0
        found = open_rebuilt(out.read_bytes(), public_key=public, where="x")
        assert (found.system, found.hashes, found.configuration) == (SYSTEM, hashes, "host")
        (status, _, err), _ = self.run(program, monkeypatch, same, "host", *signing)
        assert (status, "go together" in err) == (2, True)
        # A key that cannot sign is told before anything is built.
        (tmp_path / "key").write_bytes(b"x")
        (status, _, err), calls = self.run(program, monkeypatch, same, "host", *signing, "-o", str(out))
        assert (status, calls) == (1, {})
        assert f"{tmp_path / 'key'}: not a private key" in err

    def test_bad_usage(self, program: Program, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        other = closure(ClosureSource.PUBLISHED)
        monkeypatch.setattr(verify_closure, "_NAME", tmp_path / "none")
        (status, _, err), _ = self.run(program, monkeypatch, other)
        assert (status, "name the nixosConfiguration" in err) == (2, True)
        (status, _, err), _ = self.run(program, monkeypatch, other, "h", "--contents", "--published", "x")
        assert (status, "does not go with --published" in err) == (2, True)


class TestVmTest:
    TESTS = (
        VmTest(name="vm-a", drv="/a.drv", nodes={"m": 512}, seconds=60.0),
        VmTest(name="vm-b", obstacle="no kvm"),
    )

    @pytest.fixture
    def schedules(self, monkeypatch: pytest.MonkeyPatch) -> list[Schedule]:
        asked: list[Schedule] = []

        def run(
            tests: list[VmTest], *, schedule: Schedule, listener: Listener, nix: object, probe: object
        ) -> list[VmTestOutcome]:
            asked.append(schedule)
            assert (nix, probe) == ("nix", "probe")
            listener.on_line(tests[0], StepKind.SUBTEST, 1, "subtest: boots")
            listener.on_line(tests[0], StepKind.CONSOLE, 0, "machine # hello")
            outcomes = [
                VmTestOutcome(
                    test=tests[0],
                    verdict=Verdict.FAILED,
                    seconds=1.25,
                    reason="no",
                    log=("machine # first", "last"),
                    consoles={"machine": ("first",), "silent": ()},
                ),
                VmTestOutcome(test=tests[1], verdict=Verdict.SKIPPED, reason="no kvm"),
            ]
            for outcome in outcomes:
                listener.on_complete(outcome)
            return outcomes

        monkeypatch.delenv("NIXPKGS", raising=False)
        monkeypatch.setattr(vmtest, "probe_nix", lambda _source: "probe")
        monkeypatch.setattr(vmtest, "make_nix", lambda _source: "nix")
        monkeypatch.setattr(vmtest, "find_tests", lambda _source, _probe, _names: list(self.TESTS))
        monkeypatch.setattr(vmtest, "run_tests", run)
        return asked

    def test_a_list(self, program: Program, schedules: list[Schedule]) -> None:
        assert program(vmtest.COMMAND, "--list") == (
            0,
            "vm-a  512 MiB, 60 s  can run here\nvm-b  1024 MiB, 3600 s  cannot: no kvm\n",
            "",
        )
        _, out, _ = program(vmtest.COMMAND, "--list", "--json")
        assert [test["canRun"] for test in json.loads(out)] == [True, False]
        assert schedules == []

    def test_a_run(self, program: Program, schedules: list[Schedule], tmp_path: Path) -> None:
        words = ["-j", 3, "--memory", 700, "--timeout", 9, "--junit", tmp_path / "j.xml"]
        status, out, err = program(vmtest.COMMAND, *words)
        assert status == 1
        assert schedules == [Schedule(jobs=3, memory_mib=700, seconds=9.0)]
        assert out.splitlines() == ["failed     vm-a  1.2 s  no", "skipped    vm-b  no kvm"]
        assert err.splitlines() == [
            "vm-a |   subtest: boots",
            "vm-a: the end of machine's console:",
            "vm-a |   first",
            "vm-a: all of it: nix log /a.drv",
        ]
        assert (tmp_path / "j.xml").read_text().startswith("<?xml")

    def test_where_no_machine_came_to_be_the_last_lines_are_shown(
        self, program: Program, schedules: list[Schedule], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def run(tests: list[VmTest], *, listener: Listener, **_: object) -> list[VmTestOutcome]:
            outcome = VmTestOutcome(test=tests[0], verdict=Verdict.ERROR, reason="no", log=("why",))
            listener.on_complete(outcome)
            listener.on_complete(replace(outcome, log=()))
            return [outcome]

        monkeypatch.setattr(vmtest, "run_tests", run)
        assert program(vmtest.COMMAND)[2].splitlines() == [
            "vm-a: the last lines:",
            "vm-a |   why",
            "vm-a: all of it: nix log /a.drv",
        ]

    def prepare(
        self, monkeypatch: pytest.MonkeyPatch, program: Program, *words: str, live: bool = False
    ) -> str:
        """Standard error of a run in which what a test needs is built in three steps, ten seconds apart."""
        now = iter((0.0, 20.0, 30.0, 31.0))

        def run(tests: list[VmTest], *, listener: Listener, **_: object) -> list[VmTestOutcome]:
            for number in range(3):
                listener.on_prepare(
                    tests[0], Preparation(built=number, to_build=9, copied=0, to_copy=0, building="x" * 90)
                )
            listener.on_prepare(tests[0], Preparation(built=9, to_build=9, copied=1, to_copy=2, building=""))
            listener.on_line(tests[0], StepKind.STEP, 0, "begins")
            return []

        monkeypatch.setattr(vmtest, "run_tests", run)
        monkeypatch.setattr(vmtest, "time", SimpleNamespace(monotonic=lambda: next(now)))
        monkeypatch.setattr("sys.stderr.isatty", lambda: live, raising=False)
        return program(vmtest.COMMAND, *words)[2]

    def test_what_is_built_before_is_a_line_now_and_then(
        self, program: Program, schedules: list[Schedule], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        assert self.prepare(monkeypatch, program).splitlines() == [
            f"vm-a | what it needs: 0 of 9 built: {'x' * 90}",
            f"vm-a | what it needs: 2 of 9 built: {'x' * 90}",
            "vm-a | begins",
        ]
        assert self.prepare(monkeypatch, program, "-q") == ""

    def test_on_a_terminal_it_is_one_line_that_goes_away(
        self, program: Program, schedules: list[Schedule], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("COLUMNS", "40")
        monkeypatch.setenv("NO_COLOR", "1")
        *drawn, last = self.prepare(monkeypatch, program, live=True).split("\r\x1b[K")
        assert [len(each) for each in drawn] == [0, 39, 39, 39, 39]
        assert drawn[-1] == "vm-a | what it needs: 9 of 9 built, 1 o"
        assert last == "vm-a | begins\n"

    def test_how_much_is_shown(self, program: Program, schedules: list[Schedule]) -> None:
        assert "machine # hello" in program(vmtest.COMMAND, "-v")[2]
        assert program(vmtest.COMMAND, "-q")[2] == ""
        _, out, err = program(vmtest.COMMAND, "-q", "--json")
        assert [each["verdict"] for each in json.loads(out)] == ["failed", "skipped"]
        assert err.startswith("failed")
        assert len(schedules) == 3

    def test_as_many_as_half_of_the_processors(
        self, program: Program, schedules: list[Schedule], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(vmtest.vmtest_run, "available_memory_mib", lambda: 4321)
        for processors, jobs in ((8, 4), (1, 1), (None, 1)):
            monkeypatch.setattr("os.cpu_count", lambda number=processors: number)
            program(vmtest.COMMAND)
            assert schedules[-1] == Schedule(jobs=jobs, memory_mib=4321, seconds=None)


class TestOptions:
    @pytest.fixture
    def asked(self, monkeypatch: pytest.MonkeyPatch) -> list[Any]:
        calls: list[Any] = []
        failure = FailedEvaluationError(MissingAttributeError("no b"))

        def read(request: EvaluationRequest, names: Any, *, recursive: bool, tell: Any) -> list[HostOption]:
            calls.append((request, names, recursive))
            tell(NixMessage(kind=NixMessageKind.WARNING, text="careful"))
            kinds = {"gone": ResultKind.MISSING, "set": ResultKind.SET}
            return [
                HostOption(
                    path=name,
                    kind=kinds.get(name[0] if name else "set", ResultKind.OPTION),
                    fields={"value": {"value": 1}, "definitions": []},
                    errors={"value": failure} if name == ("bad",) else {},
                )
                for name in names
            ]

        monkeypatch.setattr(options_command, "read_host_options", read)
        return calls

    def test_as_text_and_as_json(self, program: Program, asked: list[Any]) -> None:
        status, out, err = program(options_command.COMMAND, "a.b", "c", "--expr", "e")
        shown = "a.b\n  Value:\n    1\n  Defined in:\n    nothing\n\nc\n  Value:"
        assert (status, out.startswith(shown), err) == (0, True, "warning: careful\n")
        status, out, _ = program(options_command.COMMAND, "a.b", "--file", "f.nix", "-r", "--json")
        assert (status, [each["value"] for each in json.loads(out)]) == (0, [{"value": 1}])
        assert program(options_command.COMMAND, "--flake", "r#h", "--override-input", "i", "j")[0] == 0
        assert asked == [
            (EvaluationRequest(expression="e"), [("a", "b"), ("c",)], False),
            (EvaluationRequest(file=Path("f.nix").absolute()), [("a", "b")], True),
            (
                EvaluationRequest(flake='r#nixosConfigurations."h"', override_inputs={"i": "j"}),
                [()],
                False,
            ),
        ]

    @pytest.mark.usefixtures("asked")
    def test_a_value_that_fails_and_a_name_that_is_nobodys(self, program: Program) -> None:
        status, out, _ = program(options_command.COMMAND, "bad", "--expr", "e")
        assert (status, out.splitlines()[2]) == (1, "    error: missing attribute: no b")
        status, out, err = program(options_command.COMMAND, "a", "gone", "--expr", "e")
        assert (status, out.splitlines()[0]) == (2, "a")
        assert "ectools: gone: no such option" in err
        assert program(options_command.COMMAND, "gone", "--expr", "e")[:2] == (2, "")

    @pytest.mark.parametrize(
        "arguments",
        [
            ["--expr", "e", "--file", "f"],
            ["--expr", "e", "--override-input", "i", "j"],
            ["a..b", "--expr", "e"],
        ],
    )
    def test_wrong_usage(self, program: Program, asked: list[Any], arguments: list[str]) -> None:
        assert program(options_command.COMMAND, *arguments)[0] == 2
        assert asked == []
