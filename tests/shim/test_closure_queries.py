"""Closures and damaged paths from what ``nix-store`` says, and what of it is an error."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
from support.fake_nix import FakeProcess, error_event

from pynix_eval_shim.closures import find_modified, path_hashes, requisites
from pynix_eval_shim.errors import NixError, NixMissingError
from pynix_eval_shim.invocation import Nix
from pynix_eval_shim.limits import Limits

if TYPE_CHECKING:
    from pathlib import Path


def note(message: str, level: int = 0) -> str:
    return "@nix " + json.dumps({"action": "msg", "level": level, "msg": message})


def modified(path: str) -> str:
    return note(f"path '{path}' was modified! expected hash 'sha256:a', got 'sha256:b'")


@pytest.mark.parametrize(
    ("output", "paths"), [("", ()), ("/a\n", ("/a",)), ("/c\n/a\n/b\n", ("/a", "/b", "/c"))]
)
def test_a_closure_is_sorted(run: FakeProcess, fake: Nix, output: str, paths: tuple[str, ...]) -> None:
    run.answers = [(0, output, "")]
    assert requisites("/a", nix=fake) == paths


def test_a_path_that_is_not_in_the_store_is_an_error(run: FakeProcess, fake: Nix) -> None:
    run.answers = [(1, "/a\n", error_event("path '\x1b[35;1m/a\x1b[0m' is not valid"))]
    with pytest.raises(NixError, match="path '/a' is not valid") as caught:
        requisites("/a", nix=fake)
    assert caught.value.argv[1:4] == ("--query", "--requisites", "/a")


def test_no_path_is_no_question(run: FakeProcess, fake: Nix) -> None:
    assert find_modified([], nix=fake) == ()
    assert run.calls == []


@pytest.mark.parametrize(("count", "parts"), [(1, [1]), (500, [500]), (501, [500, 1]), (1000, [500, 500])])
def test_so_many_paths_a_call_with_limits_for_each(
    run: FakeProcess, fake: Nix, count: int, parts: list[int]
) -> None:
    run.answers = [(0, "", "")]
    find_modified([f"/p{number}" for number in range(count)], nix=fake, limits=Limits(seconds=7.0))
    assert [sum(each.startswith("/p") for each in call["argv"]) for call in run.calls] == parts
    assert {call["limits"] for call in run.calls} == {Limits(seconds=7.0)}


def test_a_hash_a_path_in_their_order(run: FakeProcess, fake: Nix) -> None:
    run.answers = [(0, "sha256:b\nsha256:a\n", "")]
    assert path_hashes(["/b", "/a"], nix=fake) == {"/b": "sha256:b", "/a": "sha256:a"}
    assert run.calls[0]["argv"][1:5] == ["--query", "--hash", "/b", "/a"]
    assert path_hashes([], nix=fake) == {}
    with pytest.raises(ValueError, match="shorter"):
        path_hashes(["/b", "/a", "/c"], nix=fake)


def test_only_a_note_that_begins_so_names_a_modified_path(run: FakeProcess, fake: Nix) -> None:
    run.answers = [
        (1, "", "\n".join([modified("/b"), note("about path '/c' was modified!"), modified("/a")]))
    ]
    assert find_modified(["/a", "/b", "/c"], nix=fake) == ("/b", "/a")


def test_an_error_in_a_later_part_ends_it(run: FakeProcess, fake: Nix) -> None:
    run.answers = [(1, "", modified("/p0")), (1, "", error_event("path '/p500' is not valid")), (0, "", "")]
    with pytest.raises(NixError, match="'/p500' is not valid"):
        find_modified([f"/p{number}" for number in range(1001)], nix=fake)
    assert len(run.calls) == 2


def test_settings_of_the_nix_reach_both(run: FakeProcess, bin_directory: Path) -> None:
    nix = Nix(program=str(bin_directory / "nix"), store="/s", options={"cores": "1"}, offline=True)
    run.answers = [(0, "", "")]
    requisites("/a", nix=nix)
    find_modified(["/a"], nix=nix)
    assert [run.calls[0]["argv"][4:], run.calls[1]["argv"][3:]] == [run.argv[2:]] * 2
    assert (run.option("cores"), run.option("substitute")) == ("1", "false")


def test_a_nix_store_that_is_missing(run: FakeProcess, bin_directory: Path, tmp_path: Path) -> None:
    (bin_directory / "nix-store").unlink()
    nix = Nix(program=str(bin_directory / "nix"), env={"PATH": str(tmp_path)})
    missing = "nix-store: program not found, neither beside"
    with pytest.raises(NixMissingError, match=missing):
        requisites("/a", nix=nix)
    with pytest.raises(NixMissingError, match=missing):
        find_modified(["/a"], nix=nix)
    assert run.calls == []
