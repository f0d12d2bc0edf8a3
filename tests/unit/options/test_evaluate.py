"""What Nix is asked for options, and what becomes of those that break it; Nix itself is a fake."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

import pynix_eval_shim as shim
from ectools.errors import InputError
from ectools.options import evaluate, request
from ectools.options.evaluate import evaluate_expression, evaluate_module, evaluate_modules, find_checkout
from ectools.options.modules import ModuleClass, ModuleReference
from ectools.options.request import OptionsError

FIELDS = ("default", "description", "example", "rest", "type")


@dataclass
class FakeNix:
    """The shim's ``evaluate`` with nix/lib/options.nix behind it: options of which some abort.

    ``aborts`` maps an option to the fields that no ``tryEval`` catches, ``throws`` to those that it does;
    ``option`` is the look at it.
    """

    options: list[str]
    aborts: dict[str, tuple[str, ...]] = field(default_factory=dict)
    throws: dict[str, tuple[str, ...]] = field(default_factory=dict)
    before: str = ""
    marks: bool = True
    tells: bool = False
    calls: list[dict[str, Any]] = field(default_factory=list)
    requests: list[dict[str, Any]] = field(default_factory=list)
    files: list[Path] = field(default_factory=list)

    def __call__(self, expression: str, **arguments: Any) -> str:
        file = Path(arguments["nix_path"]["ectools-request"])
        request = json.loads(file.read_text())
        self.calls.append({"expression": expression, **arguments})
        self.requests.append(request)
        self.files.append(file)
        stderr = [self.before]

        def mark(*parts: Any) -> None:
            if request["trace"] is not None and self.marks:
                stderr.append(f"trace: {request['trace']}{json.dumps(parts)}")

        def look(option: str, part: str) -> bool:
            if part in request["skip"].get(option, ()):
                return False
            mark("begin", option, part)
            if part in self.aborts.get(option, ()):
                told = f"{request['context']}{json.dumps([option, part])}"
                frames = [shim.Frame(message=text) for text in ("while calling f", told, "another")]
                report = shim.Report(stderr="\n".join(stderr), trace=tuple(frames) if self.tells else ())
                raise shim.AbortedError(f"{option} aborts", report=report, hint="see above")
            mark("end", option, part)
            if part in self.throws.get(option, ()):
                if request["raw"]:
                    raise shim.ThrownError(f"{option} throws its {part}", report=shim.Report())
                return False
            return True

        found = [option for option in self.options if look(option, "option")]
        lost = [option for option in self.options if option not in found]
        start, count = 0, len(self.options)
        if request["range"] is not None:
            start, count = request["range"]["from"], request["range"]["count"]
        described = []
        for index, option in list(enumerate(self.options))[start : start + count]:
            mark("option", index)
            broken = ["option"] if option in lost else [part for part in FIELDS if not look(option, part)]
            described.append({"path": option.split("."), "broken": broken, "id": option})
        tree = {"name": request.get("name", "modules"), "path": [], "options": described}
        return json.dumps({"version": 1, "emptyIsDefault": True, "roots": [], "trees": [tree]})


@pytest.fixture
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A checkout that the current directory lies in, two levels above; no nixpkgs is named."""
    (tmp_path / "nix" / "lib").mkdir(parents=True)
    (tmp_path / "nix" / "nixos-modules.nix").touch()
    (tmp_path / "a" / "b").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "a" / "b")
    monkeypatch.delenv("NIXPKGS", raising=False)
    return tmp_path


@pytest.fixture
def nix(monkeypatch: pytest.MonkeyPatch) -> FakeNix:
    fake = FakeNix(["a", "b.c", "d"])
    monkeypatch.setattr(shim, "evaluate", fake)
    return fake


def broken(name: str = "x") -> dict[str, list[str]]:
    (tree,) = evaluate_expression(name).trees
    return {".".join(option["path"]): option["broken"] for option in tree.options}


class TestModule:
    FLAKE = shim.FlakeMetadata(
        path="/nix/store/x-source",
        inputs={"nixpkgs": {"rev": "1"}, "home-manager": {"rev": "2"}, "systems": {"rev": "3"}},
    )

    @pytest.fixture
    def asked(self, monkeypatch: pytest.MonkeyPatch) -> list[Any]:
        calls: list[Any] = []

        def flake_metadata(reference: str, **arguments: Any) -> shim.FlakeMetadata:
            calls.append((reference, arguments))
            if reference == "absent:":
                raise shim.FetchFailedError("no such flake")
            return self.FLAKE

        monkeypatch.setattr(shim, "flake_metadata", flake_metadata)
        return calls

    def test_a_file_is_handed_over_as_data(self, checkout: Path, nix: FakeNix) -> None:
        module = ModuleReference(name="m", file=checkout / "m.nix", module_class=ModuleClass.DARWIN)
        (tree,) = evaluate_module(module, required=True).trees
        assert tree.name == "m"
        (call,), (request,) = nix.calls, nix.requests
        assert (call["expression"], call["data"]) == ("path: /. + path", str(checkout / "m.nix"))
        assert call["installable"] is None
        assert request["module"] == {"class": "darwin", "frameworks": {}, "nixpkgs": None}
        assert request["required"] is True
        assert request["aliases"] == {"systemd option": "anything"}
        other = evaluate_module(module, name="other", types={"a": "listOf"})
        assert other.trees[0].name == "other"
        assert nix.requests[1]["aliases"]["a"] == "listOf"

    def test_a_flakes_module_goes_with_the_flakes_inputs(
        self, checkout: Path, nix: FakeNix, asked: list[Any], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("NIXPKGS", "/absent")
        module = ModuleReference(name="m", flake="f:x", attribute="homeModules.m")
        evaluate_module(module, override_inputs={"systems": "path:/s"})
        (call,), (request,) = nix.calls, nix.requests
        assert (call["expression"], call["installable"]) == (None, "f:x#homeModules.m")
        assert call["data"] is shim.NO_DATA
        assert call["override_inputs"] == {"systems": "path:/s"}
        assert asked == [("f:x", {"override_inputs": {"systems": "path:/s"}, "cwd": Path.cwd()})]
        assert request["nixpkgs"] is None
        assert request["roots"] == [{"prefix": "", "path": "/nix/store/x-source"}]
        assert request["module"] == {
            "class": None,
            "frameworks": {"home-manager": {"locked": {"rev": "2"}}},
            "nixpkgs": {"rev": "1"},
        }

    def test_a_nixpkgs_that_is_named_is_the_flakes_too(
        self, checkout: Path, nix: FakeNix, asked: list[Any]
    ) -> None:
        nixpkgs = checkout / "nixpkgs"
        (nixpkgs / "lib").mkdir(parents=True)
        (nixpkgs / "lib" / "default.nix").touch()
        evaluate_module(ModuleReference(name="m", flake=".", attribute="x"), nixpkgs=str(nixpkgs))
        assert nix.calls[0]["override_inputs"] == {"nixpkgs": f"path:{nixpkgs}"}
        assert nix.requests[0]["nixpkgs"] == str(nixpkgs)

    def test_a_flake_that_cannot_be_had(self, checkout: Path, nix: FakeNix, asked: list[Any]) -> None:
        with pytest.raises(OptionsError, match="no such flake"):
            evaluate_module(ModuleReference(name="m", flake="absent:", attribute="x"))

    def test_a_module_without_options_is_told(self, checkout: Path, nix: FakeNix) -> None:
        nix.options = []
        with pytest.raises(InputError, match="declares no option") as caught:
            evaluate_module(ModuleReference(name="m", file=checkout / "m.nix"))
        assert "--class generic" in str(caught.value.hint)


class TestCheckout:
    def test_it_is_the_nearest_above(self, checkout: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        assert find_checkout() == checkout
        monkeypatch.chdir(checkout)
        assert find_checkout() == checkout

    def test_elsewhere_it_is_the_one_of_this_package(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.chdir(tmp_path)
        assert find_checkout() == Path(__file__).parents[3]

    @pytest.mark.parametrize("missing", ["nix/nixos-modules.nix", "nix/lib"])
    def test_it_has_modules_and_a_library(
        self, checkout: Path, monkeypatch: pytest.MonkeyPatch, missing: str
    ) -> None:
        monkeypatch.setattr(evaluate, "_PACKAGE", checkout / "site-packages" / "ectools")
        path = checkout / missing
        path.rename(path.with_name("other"))
        with pytest.raises(InputError, match="not in a checkout") as caught:
            find_checkout()
        assert str(Path.cwd()) in caught.value.message
        assert "--from" in str(caught.value.hint)


class TestRequest:
    def test_modules_of_a_checkout(self, checkout: Path, nix: FakeNix) -> None:
        dump = evaluate_modules()
        assert [tree.name for tree in dump.trees] == ["modules"]
        (call,), (request,) = nix.calls, nix.requests
        assert call["expression"] == "null"
        assert call["impure"] is True
        assert call["nix_path"]["ectools-lib"] == str(checkout / "nix" / "lib")
        assert call["limits"] == shim.Limits(seconds=900.0)
        assert "<ectools-lib/request.nix>" in call["apply"]
        assert request == {
            "lock": None,
            "nixpkgs": None,
            "skip": {},
            "trace": None,
            "range": None,
            "raw": False,
            "context": request["context"],
        }
        assert re.fullmatch("ectools-[0-9a-f]{16}:", request["context"])

    def test_the_lock_file_and_the_nixpkgs_are_named(self, checkout: Path, nix: FakeNix) -> None:
        (checkout / "flake.lock").touch()
        (checkout / "nixpkgs" / "lib").mkdir(parents=True)
        (checkout / "nixpkgs" / "lib" / "default.nix").touch()
        evaluate_modules(nixpkgs=f"{checkout}/nixpkgs")
        assert nix.requests[0]["lock"] == str(checkout / "flake.lock")
        assert nix.requests[0]["nixpkgs"] == str(checkout / "nixpkgs")
        evaluate_expression("x", nixpkgs=f"{checkout}/nixpkgs")
        assert nix.requests[1]["nixpkgs"] == str(checkout / "nixpkgs")

    def test_an_expressions_options_are_relative_to_the_current_directory(
        self, checkout: Path, nix: FakeNix
    ) -> None:
        (checkout / "flake.lock").touch()
        assert evaluate_expression("{ }").trees[0].name == "options"
        assert evaluate_expression("{ }", name="mine").trees[0].name == "mine"
        assert nix.calls[0]["expression"] == "{ }"
        assert nix.requests[0]["roots"] == [{"prefix": "", "path": str(checkout / "a" / "b")}]
        assert nix.requests[0]["lock"] is None
        assert nix.requests[0]["required"] is False
        evaluate_expression("{ }", required=True)
        assert nix.requests[-1]["required"] is True

    def test_the_library_is_the_installed_one_or_the_one_beside_the_package(
        self, checkout: Path, nix: FakeNix, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(evaluate, "_PACKAGE", checkout / "ectools")
        evaluate_expression("x")
        (checkout / "ectools" / "_nix").mkdir(parents=True)
        evaluate_expression("x")
        assert [call["nix_path"]["ectools-lib"] for call in nix.calls] == [
            str(checkout / "nix" / "lib"),
            str(checkout / "ectools" / "_nix"),
        ]

    def test_the_request_is_a_file_for_as_long_as_nix_runs(self, checkout: Path, nix: FakeNix) -> None:
        evaluate_expression("x")
        assert nix.files[0].is_absolute()
        assert not nix.files[0].exists()


@pytest.mark.usefixtures("checkout")
class TestBrokenOptions:
    def test_options_that_evaluate_are_asked_for_once_and_without_marks(self, nix: FakeNix) -> None:
        assert broken() == {"a": [], "b.c": [], "d": []}
        assert [request["trace"] for request in nix.requests] == [None]

    def test_one_field_is_left_out_and_named(self, nix: FakeNix) -> None:
        nix.aborts = {"b.c": ("default",)}
        assert broken() == {"a": [], "b.c": ["default"], "d": []}

    def test_where_the_trace_tells_the_field_there_are_no_marks(self, nix: FakeNix) -> None:
        nix.tells = True
        nix.aborts = {"a": ("default", "type"), "b.c": ("option",)}
        assert broken() == {"a": ["default", "type"], "b.c": ["option"], "d": []}
        assert [request["trace"] for request in nix.requests] == [None] * 4
        assert len({request["context"] for request in nix.requests}) == 4

    def test_the_first_option_of_all(self, nix: FakeNix) -> None:
        nix.aborts = {"a": ("type",)}
        assert broken() == {"a": ["type"], "b.c": [], "d": []}
        # Nothing was left out before it, so that what came with the marks is whole.
        assert [request["trace"] is None for request in nix.requests] == [True, False, False]

    def test_several_fields_of_several_options(self, nix: FakeNix) -> None:
        nix.aborts = {"a": ("default", "type"), "b.c": ("option",), "d": ("example",)}
        assert broken() == {"a": ["default", "type"], "b.c": ["option"], "d": ["example"]}

    def test_an_evaluation_goes_on_from_where_it_died(self, nix: FakeNix) -> None:
        nix.aborts = {"b.c": ("default",), "d": ("default",)}
        assert broken()["d"] == ["default"]
        assert [request["range"] for request in nix.requests] == [
            None,
            None,
            {"from": 1, "count": 10**9},
            {"from": 2, "count": 10**9},
            None,
        ]
        traces = [request["trace"] for request in nix.requests]
        assert traces[0] is None
        assert traces[-1] is None
        # What an option printed in one run is no mark of the next.
        assert len(set(traces[1:-1])) == 3
        assert all(re.fullmatch("ectools-[0-9a-f]{16}:", trace) for trace in traces[1:-1])

    def test_a_field_that_breaks_though_it_is_left_out_takes_its_option_with_it(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        skips = []

        def die(_expression: str, **arguments: Any) -> str:
            request = json.loads(Path(arguments["nix_path"]["ectools-request"]).read_text())
            skips.append(request["skip"])
            mark = f'{request["trace"]}["begin", "a", "type"]'
            raise shim.AbortedError("no", report=shim.Report(stderr=mark))

        monkeypatch.setattr(shim, "evaluate", die)
        with pytest.raises(OptionsError):
            evaluate_expression("x")
        assert skips == [{}, {}, {"a": ["type"]}, {"a": ["type", "option"]}]

    def test_without_a_mark_it_is_nixs_own_error(self, nix: FakeNix) -> None:
        nix.aborts = {"a": ("default",)}
        nix.marks = False
        with pytest.raises(OptionsError, match="the options cannot be evaluated: a aborts") as caught:
            evaluate_expression("x")
        assert caught.value.hint == "see above"
        assert len(nix.requests) == 2

    @pytest.mark.parametrize("aborts", [False, True])
    def test_what_takes_too_long_is_no_fault_of_an_option(
        self, monkeypatch: pytest.MonkeyPatch, aborts: bool
    ) -> None:
        asked = []

        def take_long(_expression: str, **arguments: Any) -> str:
            question = json.loads(Path(arguments["nix_path"]["ectools-request"]).read_text())
            asked.append(question)
            frames = (shim.Frame(message=f'{question["context"]}["a","type"]'),)
            if aborts and len(asked) == 1:
                raise shim.AbortedError("no", report=shim.Report(trace=frames))
            raise shim.NixTimeoutError("took longer than 900 s", report=shim.Report(trace=frames))

        monkeypatch.setattr(shim, "evaluate", take_long)
        with pytest.raises(OptionsError, match="took longer than 900 s") as caught:
            evaluate_expression("x")
        assert len(asked) == 1 + aborts
        assert ("without what ended it before in a" in caught.value.message) == aborts
        assert "part of the tree" in str(caught.value.hint)

    def test_all_evaluations_together_have_an_end(
        self, nix: FakeNix, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        nix.aborts = {"a": ("default",), "b.c": ("default",), "d": ("default",)}
        nix.tells = True
        clock = iter(range(0, 100000, 850))
        monkeypatch.setattr(request.time, "monotonic", lambda: float(next(clock)))
        evaluate_expression("x")
        assert [call["limits"].seconds for call in nix.calls] == [900.0, 900.0, 900.0, 200.0]

    def test_marks_of_somebody_else_count_for_nothing(self, nix: FakeNix) -> None:
        nix.aborts = {"b.c": ("default",)}
        nix.before = 'trace: ectools-0123456789abcdef:["begin", "z", "type"]\n["begin", "y", "type"]'
        assert broken() == {"a": [], "b.c": ["default"], "d": []}

    @pytest.mark.parametrize("number", [199, 200])
    def test_two_hundred_are_not_an_option_here_and_there(
        self, monkeypatch: pytest.MonkeyPatch, number: int
    ) -> None:
        asked = []

        def evaluate_the_next(_expression: str, **arguments: Any) -> str:
            request = json.loads(Path(arguments["nix_path"]["ectools-request"]).read_text())
            index = len(request["skip"])
            asked.append(index)
            if index == number:
                return json.dumps({"version": 1, "emptyIsDefault": True, "roots": [], "trees": []})
            marks = f'{request["trace"]}["option", {index}]\n{request["trace"]}["begin", "o{index}", "rest"]'
            raise shim.AbortedError(f"o{index} aborts", report=shim.Report(stderr=marks))

        monkeypatch.setattr(shim, "evaluate", evaluate_the_next)
        if number == 199:
            assert evaluate_expression("x").trees == ()
            assert asked == [0, *range(200), 199]
        else:
            with pytest.raises(OptionsError, match="o0 aborts"):
                evaluate_expression("x")
            assert asked == [0, *range(200)]


@pytest.mark.usefixtures("checkout")
class TestCauses:
    @staticmethod
    def causes() -> dict[str, dict[str, str]]:
        (tree,) = evaluate_expression("x").trees
        return {
            ".".join(option["path"]): {
                part: cause.error.message for part, cause in option.get("causes", {}).items()
            }
            for option in tree.options
        }

    def test_what_aborted_has_said_why_already(self, nix: FakeNix) -> None:
        nix.aborts = {"a": ("default",)}
        assert self.causes() == {"a": {"default": "a aborts"}, "b.c": {}, "d": {}}
        assert not any(request["raw"] for request in nix.requests)

    def test_what_was_caught_is_asked_for_by_itself(self, nix: FakeNix) -> None:
        nix.throws = {"b.c": ("default", "type"), "d": ("example",)}
        nix.aborts = {"a": ("rest",)}
        assert self.causes() == {
            "a": {"rest": "a aborts"},
            "b.c": {"default": "b.c throws its default", "type": "b.c throws its type"},
            "d": {"example": "d throws its example"},
        }
        asked = [request for request in nix.requests if request["raw"]]
        assert [request["range"] for request in asked] == [{"from": n, "count": 1} for n in (1, 1, 2)]
        # All others are left out, or the first of them would be what Nix dies of.
        assert asked[0]["skip"] == {"a": ["rest"], "b.c": ["type"], "d": ["example"]}
        assert asked[2]["skip"] == {"a": ["rest"], "b.c": ["default", "type"], "d": []}

    def test_so_many_are_asked_for_and_no_more(self, nix: FakeNix) -> None:
        nix.options = [f"o{number}" for number in range(30)]
        nix.throws = dict.fromkeys(nix.options, ("default",))
        assert [bool(each) for each in self.causes().values()] == [True] * 20 + [False] * 10

    def test_one_that_does_not_break_again_has_no_cause(self, nix: FakeNix) -> None:
        nix.throws = {"d": ("default",)}
        once = nix.__class__.__call__

        def forgetful(expression: str, **arguments: Any) -> str:
            answer = once(nix, expression, **arguments)
            nix.throws = {}
            return answer

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(shim, "evaluate", forgetful)
            assert self.causes() == {"a": {}, "b.c": {}, "d": {}}


class TestMarks:
    @pytest.mark.parametrize(
        ("marks", "culprit"),
        [
            ([], None),
            ([["option", 3]], None),
            ([["option", 3], ["begin", "a", "type"]], ("a", "type", 3)),
            ([["begin", "a", "option"]], ("a", "option", 0)),
            ([["option", 3], ["begin", "a", "type"], ["end", "a", "type"]], None),
            ([["option", 3], ["begin", "a", "type"], ["begin", "a.b", "default"]], ("a.b", "default", 3)),
            (
                [["begin", "a", "type"], ["begin", "a.b", "rest"], ["end", "a.b", "rest"]],
                ("a", "type", 0),
            ),
            ([["option", 3], ["begin", "a", "type"], ["option", 4]], None),
            ([["end", "a", "type"], ["begin", "a", "type"]], ("a", "type", 0)),
            ([["begin", "a", "type"], ["end", "a", "rest"], ["other", 1]], ("a", "type", 0)),
            ([["option", "3"], ["begin", "a", "type"]], ("a", "type", 0)),
        ],
    )
    def test_the_field_that_was_begun_last_and_not_ended_is_the_one(
        self, marks: list[list[Any]], culprit: tuple[str, str, int] | None
    ) -> None:
        stderr = "\n".join(f"trace: m.k:{json.dumps(mark)}" for mark in marks)
        found = request._find_culprit(f"{stderr}\ntrace: mXk:[1]", "m.k:")
        assert (found and (found.option, found.field, found.index)) == culprit
