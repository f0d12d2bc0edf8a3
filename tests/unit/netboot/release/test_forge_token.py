"""Where a token comes from, and what is none."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from ectools.errors import InputError
from ectools.files import FileError
from ectools.netboot.release.forge_token import find_forge_token

if TYPE_CHECKING:
    from pathlib import Path

VARIABLE = "EVERY_CHANNEL_FORGE_TOKEN"


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.delenv("CREDENTIALS_DIRECTORY", raising=False)
    monkeypatch.delenv(VARIABLE, raising=False)
    path = tmp_path / "token"
    path.write_text("from-the-file\n")
    return path


def test_the_order_of_places(file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    environment = {VARIABLE: "from-the-environment"}
    assert find_forge_token(None, environment={}) is None
    assert find_forge_token(None, environment={VARIABLE: ""}) is None
    assert find_forge_token(None, environment=environment) == "from-the-environment"
    assert find_forge_token(file, environment=environment) == "from-the-file"
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path / "credentials"))
    assert find_forge_token(file, environment=environment) == "from-the-file"
    (tmp_path / "credentials").mkdir()
    (tmp_path / "credentials" / "forge-token").write_text("from-the-credential")
    assert find_forge_token(file, environment=environment) == "from-the-credential"
    # A credential alone names nothing: an option does.
    assert find_forge_token(None, environment={}) is None


def test_the_processs_own_environment(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert find_forge_token(None) is None
    monkeypatch.setenv(VARIABLE, " of-the-process ")
    assert find_forge_token(None) == "of-the-process"


@pytest.mark.parametrize("token", ["a", "!~", "x" * 4096, " \t padded \r\n"])
def test_tokens(token: str, file: Path) -> None:
    file.write_text(token)
    assert find_forge_token(file) == token.strip()


@pytest.mark.parametrize("token", [b"", b"two words", b"x" * 4097, b"\xff", b"\x7f", b"a\0b", b"a\nb"])
def test_what_is_none(token: bytes, file: Path) -> None:
    file.write_bytes(token)
    with pytest.raises(InputError) as caught:
        find_forge_token(file)
    assert caught.value.message == (
        f"{file}: holds no token: one line of letters, digits and signs was expected"
    )
    assert caught.value.hint == "Forgejo makes tokens under Settings, Applications"


def test_the_variable_is_named_where_it_is_wrong(file: Path) -> None:
    with pytest.raises(InputError, match=r"^\$EVERY_CHANNEL_FORGE_TOKEN: holds no token: ") as caught:
        find_forge_token(None, environment={VARIABLE: "s3cret s3cret"})
    assert "s3cret" not in caught.value.render()


def test_a_file_without_an_end(file: Path) -> None:
    file.write_bytes(b" " * 65535 + b"x")
    assert find_forge_token(file) == "x"
    file.write_bytes(b" " * 65536 + b"x")
    with pytest.raises(FileError, match="is larger than 65536 bytes"):
        find_forge_token(file)
    file.unlink()
    with pytest.raises(FileError, match="token: cannot be read: No such file"):
        find_forge_token(file)
