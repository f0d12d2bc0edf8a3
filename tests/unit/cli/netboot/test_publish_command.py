"""``ectools netboot publish`` and ``promote``: what they print, and how they are given."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
from support.promoted import Promoted
from support.releases import release_files

from ectools.cli.netboot.depot_options import read_key
from ectools.cli.netboot.promote import COMMAND as PROMOTE
from ectools.cli.netboot.publish import COMMAND as PUBLISH
from ectools.cli.netboot.stage import COMMAND as STAGE

if TYPE_CHECKING:
    from pathlib import Path

    from conftest import Program

pytestmark = pytest.mark.usefixtures("owners")


@pytest.fixture
def made(tmp_path: Path) -> Promoted:
    """Keys, and a netboot output."""
    found = Promoted(home=tmp_path, place=str(tmp_path / "depot"), source=f"file:{tmp_path / 'depot'}")
    (tmp_path / "output").mkdir()
    for name, data in release_files().items():
        (tmp_path / "output" / name).write_bytes(data)
    return found


def key_of(made: Promoted) -> tuple[str, ...]:
    return ("--signature-format", "openssl", "--key-file", str(made.home / "key"))


def test_a_release_is_published_promoted_and_staged(
    program: Program, made: Promoted, monkeypatch: pytest.MonkeyPatch
) -> None:
    arguments = (made.home / "output", "--tag", "boot-v2026.03.02", "--to", made.place, *key_of(made))
    status, out, _ = program(PUBLISH, *arguments)
    assert (status, out) == (0, f"boot-v2026.03.02: published: {made.place}\n")
    status, out, _ = program(PUBLISH, *arguments, "--json")
    found = json.loads(out)
    assert (status, found["outcome"], found["files"][0]["name"]) == (0, "unchanged", "SHA256SUMS.txt")
    status, out, _ = program(PROMOTE, "boot-v2026.03.02", "canary", "--in", made.place, *key_of(made))
    assert (status, out) == (0, "canary: nothing → boot-v2026.03.02\n")
    promote = ("canary", "stable", "--in", made.place, *key_of(made))
    status, out, _ = program(PROMOTE, *promote, "--valid-days", "30")
    assert (status, out.startswith("stable: nothing → boot-v2026.03.02, until 20")) == (0, True)
    status, out, _ = program(PROMOTE, *promote)
    assert (status, out) == (0, "stable: boot-v2026.03.02 → boot-v2026.03.02\n")
    status, out, _ = program(PROMOTE, *promote, "--json", "--former-key", made.home / "key.pub")
    found = json.loads(out)
    assert (found["moved"], found["before"], found["tag"]) == (False, "boot-v2026.03.02", "boot-v2026.03.02")
    status, out, _ = program(PROMOTE, *promote)
    assert out == "stable: leads to boot-v2026.03.02 already; nothing changed\n"
    pinned = ("--signature-format", "openssl", "--public-key-file", str(made.home / "key.pub"))
    followed = ("--source", made.source, "--channel", "stable", "--state-dir", made.home / "state")
    status, out, _ = program(STAGE, *followed, *pinned)
    assert (status, out.startswith("boot-v2026.03.02 (sha256-")) == (0, True)
    # From where somebody is, as publish --to and promote --in take it.
    monkeypatch.chdir(made.home)
    for place in ("depot", "./depot", "../" + made.home.name + "/depot"):
        status, out, _ = program(STAGE, "--source", place, *followed[2:], *pinned)
        assert (status, out.endswith("is current already; nothing changed\n")) == (0, True)
    status, _, err = program(STAGE, "--source", "file:depot", *followed[2:], *pinned)
    assert (status, "expected: null or a directory's absolute path, https://" in err) == (2, True)
    status, _, err = program(STAGE, *followed, *pinned, "--tag", "boot-v2026.03.02")
    assert (status, "--channel excludes --tag and --tarball" in err) == (2, True)


def test_no_release_is_published_as_a_channel(program: Program, made: Promoted) -> None:
    made.publish("boot-v1")
    made.promote("boot-v1", "stable")
    given = (made.home / "output", "--tag", "stable", "--to", made.place, *key_of(made))
    status, out, err = program(PUBLISH, *given)
    assert (status, out) == (2, "")
    assert f"{made.place}: stable is a channel there" in err
    assert not (made.home / "depot/releases/stable").exists()


def test_a_wrong_key_is_told_by_its_file(program: Program, made: Promoted) -> None:
    made.publish("boot-v1")
    public = made.home / "key.pub"
    given = ("--in", made.place, "--signature-format", "openssl", "--key-file", public)
    status, out, err = program(PROMOTE, "boot-v1", "stable", *given)
    assert (status, out) == (1, "")
    assert f"{public}: not a private key in PEM, or an encrypted one\n  hint: name the private key's" in err


def test_what_is_withdrawn_is_said(program: Program, made: Promoted) -> None:
    for tag in ("boot-v2026.03.02", "boot-v2026.03.09"):
        made.publish(tag)
    made.promote("boot-v2026.03.09", "stable")
    back = ("boot-v2026.03.02", "stable", "--in", made.place, *key_of(made), "--withdraw")
    status, out, err = program(PROMOTE, *back, "boot-v2026.03.9", "--json")
    assert (status, json.loads(out)["withdrawn"]) == (0, ["boot-v2026.03.9"])
    assert err == (
        "stable: boot-v2026.03.9 is withdrawn, and no release is published as that: "
        "did you mean boot-v2026.03.09?\n"
    )
    # The same once more has no other tag to look at.
    _, _, err = program(PROMOTE, *back, "boot-v2026.03.9")
    assert err.endswith("is published as that: did you mean boot-v2026.03.02?\n")
    _, _, err = program(PROMOTE, *back, "nope")
    assert err.endswith("is published as that: nodes that run another one stay where they are\n")
    status, out, err = program(PROMOTE, *back, "boot-v2026.03.09")
    assert (status, err) == (0, "")
    assert out == "stable: boot-v2026.03.02 → boot-v2026.03.02; withdrawn: boot-v2026.03.09\n"


def test_another_release_of_the_tag_is_refused(program: Program, made: Promoted) -> None:
    arguments = ("--tag", "boot-v1", "--to", made.place, *key_of(made))
    assert program(PUBLISH, made.home / "output", *arguments)[0] == 0
    (made.home / "output/kernel").write_bytes(b"kernel of another")
    status, out, err = program(PUBLISH, made.home / "output", *arguments)
    assert (status, out) == (1, "")
    assert "another release is published as boot-v1" in err


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--key-file", "key"), "go together"),
        (("--to", "https://bob:s3cret@x/y"), "'https://***@x/y': has no host"),
        (("--source", "git+https://bob:s3cret@x/y"), "--source: git+https://***@x/y: an address with a user"),
        (("--tag", "b" * 129), "is no tag for a release"),
        (("--lock", __file__), "--lock: is a source's"),
        (("--to", "ftp://x"), "names no place"),
        (("--to", "oci://registry.example.org/boot:boot-v2"), "names the release boot-v2"),
        (("--commit", "main", "--source", "git+https://x"), "is no commit of a source"),
    ],
)
def test_how_it_is_not_given(
    program: Program, made: Promoted, arguments: tuple[str, ...], words: str
) -> None:
    given = (made.home / "output", "--tag", "boot-v1", "--to", made.place, *arguments)
    status, _, err = program(PUBLISH, *given)
    assert status == 2
    assert words in err
    assert "s3cret" not in err


def test_a_key_has_its_program(made: Promoted) -> None:
    assert read_key(None, None) is None
    found = read_key("openssl", made.home / "key")
    assert found is not None
    assert (found.form, found.file) == ("openssl", made.home / "key")


def test_what_is_packed_is_published_alone(program: Program, made: Promoted) -> None:
    made.publish("boot-v1")
    packed = made.home / "packed-boot-v1-one"
    arguments = ("--tag", "boot-v1", "--to", made.place)
    assert (
        program(PUBLISH, packed, *arguments)[1] == f"boot-v1: was published already, the same: {made.place}\n"
    )
    status, _, err = program(PUBLISH, packed, *arguments, *key_of(made))
    assert (status, "and without --signature-format, --key-file" in err) == (2, True)
    unused = ("--commit", "deadbeef", "--timestamp", "5", "--format", "gz", "--key-file", made.home / "key")
    status, _, err = program(PUBLISH, packed, *arguments, *unused)
    assert (status, "and without --key-file, --format, --commit, --timestamp" in err) == (2, True)
    status, _, err = program(PUBLISH, packed, made.home / "output", *arguments)
    assert (status, "and alone" in err) == (2, True)
