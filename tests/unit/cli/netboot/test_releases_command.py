"""``ectools netboot releases``: list, pin, unpin, collect and verify, on releases that stand there."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from support.staged import make_release, make_systems, put_release

from ectools.cli.netboot.releases import COMMAND
from ectools.netboot.kernel import KernelArchitecture
from ectools.netboot.release.store import ReleaseStore

if TYPE_CHECKING:
    from conftest import Program

    from ectools.netboot.release.manifest import Release

pytestmark = pytest.mark.usefixtures("owners")

NO_ID = "sha256-0123456789abcdef0123456789abcdef"


@pytest.fixture
def state(tmp_path: Path) -> Path:
    return tmp_path / "state"


def put(state: Path, text: str, *, staged_at: int, tag: str | None = "boot-v1") -> Release:
    """A release, which is current now."""
    files = {"kernel": text.encode(), "initrd": b"initrd"}
    release = replace(make_release(files), staged_at=staged_at, tag=tag)
    put_release(state, release, files)
    return release


def make_previous(state: Path, release: Release) -> None:
    (state / "previous").symlink_to(f"releases/{release.id}")


def test_the_newest_is_listed_first_with_its_marks(program: Program, state: Path, owners: list[Path]) -> None:
    old = put(state, "old", staged_at=0, tag=None)
    new = put(state, "new", staged_at=1_700_000_000)
    make_previous(state, old)
    for release in (old, new):
        assert program(COMMAND, "pin", "--state-dir", state, release.id) == (
            0,
            f"{release.title}: pinned\n",
            "",
        )
    status, out, _ = program(COMMAND, "list", "--state-dir", state)
    assert (status, out.splitlines()) == (
        0,
        [
            f"{new.id}  boot-v1  2023-11-14T22:13Z  9 bytes  current  pinned",
            f"{old.id}  -  1970-01-01T00:00Z  9 bytes  previous  pinned",
        ],
    )
    listed = json.loads(program(COMMAND, "list", "--state-dir", state, "--json")[1])
    assert [(each["id"], each["marks"]) for each in listed] == [
        (new.id, ["current", "pinned"]),
        (old.id, ["previous", "pinned"]),
    ]
    assert set(owners) == {state}


def test_architectures_are_listed_where_they_are_known(program: Program, state: Path) -> None:
    release, files = make_systems({"pc": KernelArchitecture.X86_64, "arm": KernelArchitecture.AARCH64})
    put_release(state, release, files)
    (state / "releases" / release.id / "pc" / "initrd").write_bytes(b"x")
    status, out, _ = program(COMMAND, "list", "--state-dir", state)
    assert (status, out.split("  ")[4:]) == (0, ["current", "aarch64", "x86_64\n"])
    (listed,) = json.loads(program(COMMAND, "list", "--state-dir", state, "--json")[1])
    assert {name: each["architecture"] for name, each in listed["systems"].items()} == {
        "pc": "x86_64",
        "arm": "aarch64",
    }
    status, out, _ = program(COMMAND, "verify", "--state-dir", state)
    assert (status, out) == (1, f"{release.title}: pc/initrd has 1 bytes; 12 were staged\n")
    # Of one system it is there too, beside what always was.
    one = put(state, "one", staged_at=5)
    listed = json.loads(program(COMMAND, "list", "--state-dir", state, "--json")[1])
    (found,) = [each for each in listed if each["id"] == one.id]
    assert found["systems"]["release"]["boot"] == found["boot"]
    assert found["systems"]["release"]["archive_sha256"] == found["archive_sha256"]


def test_where_nothing_is_staged(program: Program, state: Path) -> None:
    status, out, err = program(COMMAND, "collect", "--state-dir", state)
    assert (status, out) == (1, "")
    assert f"{state}: there is no such directory: nothing was ever staged there" in err
    state.mkdir()
    for command, out in (("list", "[]\n"), ("collect", "[]\n"), ("verify", "[]\n")):
        assert program(COMMAND, command, "--state-dir", state, "--json") == (0, out, "")
        assert program(COMMAND, command, "--state-dir", state) == (0, "", "")


def test_a_pin_is_taken_back_once(program: Program, state: Path) -> None:
    release = put(state, "one", staged_at=1)
    program(COMMAND, "pin", "--state-dir", state, release.id)
    for words in ("no longer pinned", "was not pinned"):
        assert program(COMMAND, "unpin", "--state-dir", state, release.id) == (
            0,
            f"{release.id}: {words}\n",
            "",
        )
    assert ReleaseStore(state).list_pinned() == frozenset()


def test_what_is_not_staged_cannot_be_pinned(program: Program, state: Path) -> None:
    put(state, "one", staged_at=1)
    status, out, err = program(COMMAND, "pin", "--state-dir", state, NO_ID)
    assert (status, out) == (1, "")
    assert NO_ID in err
    assert ReleaseStore(state).list_pinned() == frozenset()


def test_a_tag_names_a_release_as_an_id_does(program: Program, state: Path) -> None:
    old, new = put(state, "old", staged_at=1), put(state, "new", staged_at=2)
    other = put(state, "other", staged_at=3, tag="boot-v2")
    for wanted, release in (("boot-v1", new), ("boot-v2", other), (old.id, old)):
        assert program(COMMAND, "pin", "--state-dir", state, wanted)[1] == f"{release.title}: pinned\n"
        assert program(COMMAND, "verify", "--state-dir", state, wanted)[1] == f"{release.title}: whole\n"
    assert ReleaseStore(state).list_pinned() == {old.id, new.id, other.id}
    _, out, _ = program(COMMAND, "unpin", "--state-dir", state, "boot-v1")
    assert out == f"{new.id}: no longer pinned\n"
    for command in ("pin", "unpin", "verify"):
        status, out, err = program(COMMAND, command, "--state-dir", state, "boot-2")
        assert (status, out) == (2, "")
        assert "boot-2: no such release is staged\n  hint: did you mean boot-v2?" in err
    assert ReleaseStore(state).list_pinned() == {old.id, other.id}


def test_collecting_what_is_no_longer_needed(program: Program, state: Path) -> None:
    releases = [put(state, text, staged_at=at) for at, text in enumerate(("a", "b", "c", "d"))]
    oldest, older, _, current = releases
    make_previous(state, older)
    program(COMMAND, "pin", "--state-dir", state, oldest.id)
    dry = ("collect", "--state-dir", state, "--keep", 0, "--dry-run")
    _, out, _ = program(COMMAND, *dry)
    gone = releases[2]
    assert f"{gone.title}: would be removed\n" in out
    assert f"{current.title}: current\n" in out
    assert len(out.splitlines()) == 4
    told = {each["id"]: each["fate"] for each in json.loads(program(COMMAND, *dry, "--json")[1])}
    assert told[gone.id] == "removed"
    assert len(ReleaseStore(state).list_ids()) == 4
    status, out, _ = program(COMMAND, *dry[:-1])
    assert status == 0
    assert f"{gone.title}: removed\n" in out
    assert set(ReleaseStore(state).list_ids()) == {oldest.id, older.id, current.id}


def test_how_many_stay_is_the_settings_word_where_there_is_no_flag(
    program: Program, state: Path, default_config: Path
) -> None:
    for at, text in enumerate(("a", "b", "c")):
        put(state, text, staged_at=at)
    default_config.write_text(json.dumps({"stateDir": str(state), "release": {"keep": 1}}))
    assert program(COMMAND, "collect")[0] == 0
    assert len(ReleaseStore(state).list_ids()) == 2


def test_damage_is_told_and_is_the_exit_status(program: Program, state: Path) -> None:
    whole, damaged = put(state, "whole", staged_at=1), put(state, "other", staged_at=2)
    assert program(COMMAND, "verify", "--state-dir", state)[0] == 0
    (state / "releases" / damaged.id / "initrd").write_bytes(b"x")
    status, out, _ = program(COMMAND, "verify", "--state-dir", state)
    assert status == 1
    assert out.splitlines() == [
        f"{whole.title}: whole",
        f"{damaged.title}: initrd has 1 bytes; 6 were staged",
    ]
    status, out, _ = program(COMMAND, "verify", "--state-dir", state, "--json")
    assert (status, json.loads(out)) == (
        1,
        [{"id": damaged.id, "file": "initrd", "fault": "has 1 bytes; 6 were staged"}],
    )
    assert program(COMMAND, "verify", "--state-dir", state, whole.id) == (0, f"{whole.title}: whole\n", "")
    status, out, err = program(COMMAND, "verify", "--state-dir", state, NO_ID)
    assert (status, out) == (1, "")
    assert NO_ID in err


def test_what_changes_from_one_to_another(program: Program, state: Path) -> None:
    old = put(state, "old", staged_at=0, tag="boot-v1")
    new = put(state, "newer", staged_at=1, tag="boot-v2")
    status, out, _ = program(COMMAND, "diff", "--state-dir", state, "boot-v1", new.id)
    assert (status, out.splitlines()) == (
        0,
        [
            f"{old.title} → {new.title}",
            "  kernel: 3 bytes → 5 bytes",
            "  5 bytes of 11 bytes are new",
        ],
    )
    status, out, _ = program(COMMAND, "diff", "--state-dir", state, "--json", old.id, "boot-v2")
    assert (status, json.loads(out)) == (
        0,
        {
            "old": old.id,
            "new": new.id,
            "packages": None,
            "files": [{"name": "kernel", "before": 3, "after": 5}],
            "new_bytes": 5,
        },
    )
    status, _, err = program(COMMAND, "diff", "--state-dir", state, "boot-v1", "channel:stable")
    assert (status, "channel:stable: no such release is staged" in err) == (2, True)


def test_a_channel_is_a_mark_and_a_name(program: Program, state: Path) -> None:
    release = put(state, "one", staged_at=0)
    (state / "channels").mkdir()
    known = {"counter": 7, "tag": "boot-v1", "sums": "0" * 64, "release": release.id}
    (state / "channels/stable").write_text(json.dumps(known))
    status, out, _ = program(COMMAND, "list", "--state-dir", state, "--json")
    assert (status, json.loads(out)[0]["marks"]) == (0, ["current", "channel:stable"])
    assert program(COMMAND, "diff", "--state-dir", state, "boot-v1", "channel:stable")[0] == 0
