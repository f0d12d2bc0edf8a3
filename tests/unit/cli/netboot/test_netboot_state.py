"""Where the commands on staged releases find their settings, and as whom they work."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING, Any

import click
import pytest

from ectools.capabilities import Capability
from ectools.cli.netboot.state import become_owner, load_given, load_state, show_size, state_options
from ectools.errors import EcError

if TYPE_CHECKING:
    from pathlib import Path

    from conftest import Program


def write_config(path: Path, **options: Any) -> Path:
    path.write_text(json.dumps(options))
    return path


def test_the_file_given_stands_before_the_default_one(tmp_path: Path, default_config: Path) -> None:
    write_config(default_config, stateDir="/srv/default")
    given = write_config(tmp_path / "given.json", stateDir="/srv/given")
    assert str(load_given(None, None).state_dir) == "/srv/default"
    assert str(load_given(given, None).state_dir) == "/srv/given"
    assert str(load_given(given, "/srv/flag").state_dir) == "/srv/flag"


def test_a_default_file_need_not_be_there_and_a_given_one_must(tmp_path: Path) -> None:
    assert str(load_given(None, "/srv/flag").state_dir) == "/srv/flag"
    with pytest.raises(EcError) as caught:
        load_given(tmp_path / "no.json", "/srv/flag")
    assert str(tmp_path / "no.json") in caught.value.message


def test_a_flag_stands_before_the_file_unless_it_was_not_given(tmp_path: Path) -> None:
    given = write_config(tmp_path / "given.json", stateDir="/srv/given", release={"keep": 7})
    assert load_given(given, None, **{"release.keep": None}).release.keep == 7
    assert load_given(given, None, **{"release.keep": 3}).release.keep == 3


def test_who_changes_the_state_works_as_its_user(owners: list[Path], tmp_path: Path) -> None:
    assert load_given(None, str(tmp_path)).state_dir == tmp_path
    assert owners == []
    assert load_state(None, str(tmp_path), **{"release.keep": 2}).release.keep == 2
    assert owners == [tmp_path]


@pytest.mark.parametrize("uid", [0, 1000])
def test_only_root_becomes_another(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, uid: int) -> None:
    became: list[Any] = []
    monkeypatch.setattr(
        "ectools.privileges.work_as_directory_user",
        lambda *directories, keep: became.append((directories, keep)),
    )
    monkeypatch.setattr(os, "geteuid", lambda: uid)
    become_owner(tmp_path)
    assert became == ([((tmp_path,), (Capability.DAC_READ_SEARCH,))] if uid == 0 else [])


def test_the_two_options(program: Program, tmp_path: Path) -> None:
    @click.command()
    @state_options
    def command(**options: Any) -> None:
        click.echo(repr(options))

    assert program(command)[1] == "{'config': None, 'state_dir': None}\n"
    _, out, _ = program(command, "--config", tmp_path, "--state-dir", "s")
    assert out == f"{ {'config': tmp_path, 'state_dir': 's'} }\n"


@pytest.mark.parametrize(
    ("size", "shown"),
    [(0, "0 bytes"), (99_999, "99999 bytes"), (100_000, "0.1 MB"), (292_950_000, "292.9 MB")],
)
def test_a_size(size: int, shown: str) -> None:
    assert show_size(size) == shown
