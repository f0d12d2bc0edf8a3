"""``build`` and ``flake_check`` beside what they ask nix: contradictions, failures, and what was built."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from support.fake_nix import FakeProcess, error_event

from pynix_eval_shim.building import Built, FlakeCheck, build, flake_check
from pynix_eval_shim.errors import BuildFailedError, DataError, NixError, NixMissingError
from pynix_eval_shim.messages import BuildEvent

if TYPE_CHECKING:
    from pynix_eval_shim.invocation import Nix

DRV = "/nix/store/x-a.drv"
SHOWN_DRV = f"\x1b[35;1m{DRV}\x1b[0m"
"""As nix colours what it quotes in a message of its own."""

BUILD_STARTS = '@nix {"action":"start","id":1,"type":105,"fields":["' + DRV + '","",1,1]}'
LOG_LINE = '@nix {"action":"result","id":1,"type":101,"fields":["it breaks"]}'


@pytest.mark.parametrize(
    ("arguments", "kind", "says"),
    [
        ({}, TypeError, "exactly one of"),
        ({"expression": "x", "file": "f.nix"}, TypeError, "exactly one of"),
        ({"expression": "x", "installable": ".#x"}, TypeError, "exactly one of"),
        ({"installable": "--impure"}, DataError, "does not begin with a dash"),
        ({"installable": ".#x", "data": {}}, TypeError, "data= needs an expression or file="),
        ({"expression": "x", "data": {1}}, DataError, "data: a set is not JSON"),
    ],
)
def test_what_contradicts_itself_starts_nothing(
    run: FakeProcess, fake: Nix, arguments: dict[str, Any], kind: type[Exception], says: str
) -> None:
    with pytest.raises(kind, match=says):
        build(**arguments, nix=fake)
    assert run.calls == []


def test_a_flake_is_no_option(run: FakeProcess, fake: Nix) -> None:
    with pytest.raises(DataError, match="does not begin with a dash"):
        flake_check("--all", nix=fake)
    assert run.calls == []


@pytest.mark.parametrize(
    ("items", "built"),
    [
        ([], ()),
        ([{"drvPath": "/a.drv", "outputs": {}}], (Built(drv="/a.drv", outputs={}),)),
        (
            [{"drvPath": "/a.drv", "outputs": {"lib": "/l", "out": "/o", "doc": ""}}],
            (Built(drv="/a.drv", outputs={"lib": "/l", "out": "/o"}),),
        ),
        (
            [{"path": "/b"}, "/c"],
            (Built(drv=None, outputs={"out": "/b"}), Built(drv=None, outputs={"out": "/c"})),
        ),
    ],
)
def test_what_was_built(run: FakeProcess, fake: Nix, items: Any, built: tuple[Built, ...]) -> None:
    run.answers = [(0, json.dumps(items), "")]
    assert build("x", nix=fake) == built


def test_a_relative_file_is_found_from_the_callers_directory(
    run: FakeProcess, fake: Nix, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run.answers = [(0, "[]", "")]
    monkeypatch.chdir(tmp_path)
    for cwd, expected in ((None, tmp_path), ("below", tmp_path / "below"), ("/else", Path("/else"))):
        build(file="a.nix", cwd=cwd, nix=fake)
        assert run.argv[-3] == f"{expected}/a.nix"
        assert run.calls[-1]["cwd"] == (None if cwd is None else Path(cwd))


def test_a_failed_build_has_its_derivation_and_its_log(run: FakeProcess, fake: Nix) -> None:
    failure = error_event(f"builder for '{SHOWN_DRV}' failed with exit code 1")
    run.answers = [(1, "", f"{BUILD_STARTS}\n{LOG_LINE}\n{failure}\n")]
    with pytest.raises(BuildFailedError, match="failed with exit code 1") as caught:
        build("x", nix=fake)
    assert (caught.value.drv, caught.value.log) == (DRV, ("it breaks",))
    assert caught.value.argv[1] == "build"


def test_a_position_in_a_failure_is_one_in_the_callers_code(run: FakeProcess, fake: Nix) -> None:
    run.answers = [(1, "", error_event("it is wrong", file="throw 1", line=1, column=3))]
    with pytest.raises(NixError) as caught:
        build("throw 1", nix=fake)
    assert (caught.value.file, caught.value.line, caught.value.column) == ("«string»", 1, 3)


def test_what_a_callback_raises_is_passed_on(run: FakeProcess, fake: Nix) -> None:
    run.answers = [(0, "[]", "")]

    def give_up(event: BuildEvent) -> None:
        raise ZeroDivisionError(event.drv)

    build("x", on_event=give_up, nix=fake)
    with pytest.raises(ZeroDivisionError, match=DRV):
        run.calls[0]["watch"].on_stderr(f"{BUILD_STARTS}\n".encode())


def test_a_nix_that_is_missing(run: FakeProcess, fake: Nix, bin_directory: Path) -> None:
    (bin_directory / "nix").unlink()
    for call in (lambda: build("x", nix=fake), lambda: flake_check(".", nix=fake)):
        with pytest.raises(NixMissingError, match="program not found"):
            call()
    assert run.calls == []


def test_all_systems_are_asked_for_once_where_nix_knows_the_flag(run: FakeProcess, fake: Nix) -> None:
    run.answers = [(0, "", '@nix {"action":"msg","level":1,"msg":"warning: a"}')]
    assert flake_check(".", all_systems=True, nix=fake) == FlakeCheck(warnings=("a",))
    assert len(run.calls) == 1


def test_a_check_that_fails_without_the_flag_too(run: FakeProcess, fake: Nix) -> None:
    run.answers = [
        (1, "", "error: unrecognised flag '--all-systems'"),
        (1, "", error_event(f"builder for '{SHOWN_DRV}' failed with exit code 2")),
    ]
    with pytest.raises(BuildFailedError) as caught:
        flake_check(".", all_systems=True, nix=fake)
    assert caught.value.drv == DRV
    assert "--all-systems" not in caught.value.argv


def test_another_flag_that_is_not_known_is_an_error(run: FakeProcess, fake: Nix) -> None:
    run.answers = [(1, "", "error: unrecognised flag '--all-systems'")]
    with pytest.raises(NixError, match="unrecognised flag"):
        flake_check(".", nix=fake)
    assert len(run.calls) == 1
