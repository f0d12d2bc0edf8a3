"""Schemas by path, or by a git revision of the checkout around."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from support.needs import require_tool

from ectools.errors import InputError
from ectools.options.revisions import open_revision, open_schemas


@pytest.fixture
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A repository of three commits: schemas "one", schemas "two", and none; the middle one is tagged."""
    require_tool("git", "install git")

    def git(*arguments: str) -> None:
        identity = ["-c", "user.name=n", "-c", "user.email=e", "-c", "commit.gpgsign=false"]
        subprocess.run(["git", "-C", str(tmp_path), *identity, *arguments], check=True, capture_output=True)

    git("init", "-q")
    schema = tmp_path / "schemas" / "m.schema.json"
    schema.parent.mkdir()
    for text in ("öne", "two"):
        schema.write_text(text)
        git("add", ".")
        git("commit", "-qm", text)
    git("tag", "v2")
    git("rm", "-rq", "schemas")
    git("commit", "-qm", "none")
    (tmp_path / "below").mkdir()
    monkeypatch.chdir(tmp_path / "below")
    return tmp_path


def test_a_path_is_itself(checkout: Path) -> None:
    with open_schemas(str(checkout)) as directory:
        assert directory == checkout


@pytest.mark.parametrize(("revision", "text"), [("v2", "two"), ("HEAD~2", "öne"), ("HEAD~1", "two")])
def test_a_revision_is_a_directory_for_as_long_as_it_is_open(
    checkout: Path, revision: str, text: str
) -> None:
    with open_schemas(revision) as directory:
        assert directory.name.startswith("ectools-schemas-")
        assert {path.name: path.read_text() for path in directory.iterdir()} == {"m.schema.json": text}
    assert not directory.exists()
    assert checkout.is_dir()


@pytest.mark.parametrize("name", ["HEAD", "nothing", "--help", "", "v2\n"])
def test_what_is_neither_is_rejected(checkout: Path, name: str) -> None:
    assert checkout.is_dir()
    with pytest.raises(InputError, match="no git revision here with a directory schemas"), open_schemas(name):
        pass


def test_the_current_directory_as_a_revision_has_it(checkout: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (checkout / ".gitattributes").write_text("schemas export-ignore\n")
    monkeypatch.chdir(checkout)
    before = subprocess.run(["git", "status", "--short"], check=True, capture_output=True).stdout
    with open_revision("v2") as directory:
        assert [str(path.relative_to(directory)) for path in directory.rglob("*.json")] == [
            "schemas/m.schema.json"
        ]
        assert (directory / "schemas" / "m.schema.json").read_text() == "two"
    assert not directory.exists()
    assert subprocess.run(["git", "status", "--short"], check=True, capture_output=True).stdout == before
    with open_revision(".") as directory:
        assert directory == checkout
    (checkout / "schemas").mkdir()
    monkeypatch.chdir(checkout / "schemas")
    with open_revision("v2") as directory:
        assert (directory / "m.schema.json").read_text() == "two"


@pytest.mark.parametrize(
    ("revision", "words"), [("v3", "no git revision here"), ("HEAD", "no directory below")]
)
def test_what_a_revision_has_not(checkout: Path, revision: str, words: str) -> None:
    with pytest.raises(InputError, match=words), open_revision(revision):
        pass
