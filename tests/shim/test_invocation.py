"""Which store and which settings a call gets, by who calls and what is there; and what ``probe`` finds."""

from __future__ import annotations

import os
import socket
from typing import TYPE_CHECKING

import pytest

import pynix_eval_shim as shim
from pynix_eval_shim import Implementation, Nix, invocation

if TYPE_CHECKING:
    from pathlib import Path


def nix_of(home: Path, state: Path, **more: str) -> Nix:
    environment = {"HOME": str(home), "NIX_STATE_DIR": str(state), "PATH": os.environ["PATH"], **more}
    return Nix(env=environment)


@pytest.fixture
def forbidden(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A directory that this user may not write to, even where the tests run as root."""
    directory = tmp_path / "forbidden"
    directory.mkdir()
    real = os.access

    def access(path: str | os.PathLike[str], mode: int) -> bool:
        inside = os.fspath(path).startswith(os.fspath(directory)) and not os.fspath(path).endswith("/socket")
        return real(path, mode) and not (inside and mode & os.W_OK)

    monkeypatch.setattr(os, "access", access)
    return directory


class TestStore:
    def test_the_callers_choice_comes_first(self, tmp_path: Path) -> None:
        nix = Nix(store="/some/where", env={"NIX_REMOTE": "daemon", "NIX_STATE_DIR": str(tmp_path)})
        assert invocation.choose_store(nix, needed=False).arguments == ("--store", "/some/where")

    def test_a_dummy_cannot_be_written_to(self) -> None:
        assert not invocation.choose_store(Nix(store="dummy://"), needed=True).writable

    def test_nix_remote_is_left_to_nix(self, tmp_path: Path, forbidden: Path) -> None:
        nix = nix_of(tmp_path, forbidden, NIX_REMOTE="daemon")
        assert invocation.choose_store(nix, needed=True).arguments == ()

    def test_a_state_directory_to_write_to_is_the_machines_store(self, tmp_path: Path) -> None:
        assert invocation.choose_store(nix_of(tmp_path, tmp_path / "state"), needed=True).arguments == ()

    def test_a_daemon_is_used(self, tmp_path: Path, forbidden: Path) -> None:
        (forbidden / "daemon-socket").mkdir()
        with socket.socket(socket.AF_UNIX) as server:
            server.bind(str(forbidden / "daemon-socket/socket"))
            assert invocation.choose_store(nix_of(tmp_path, forbidden), needed=True).arguments == ()

    def test_a_user_without_any_evaluates_on_a_dummy(self, tmp_path: Path, forbidden: Path) -> None:
        store = invocation.choose_store(nix_of(tmp_path, forbidden), needed=False)
        assert store.arguments == ("--store", "dummy://")
        assert not store.writable

    def test_a_user_without_any_gets_one_of_their_own(self, tmp_path: Path, forbidden: Path) -> None:
        store = invocation.choose_store(nix_of(tmp_path, forbidden), needed=True)
        assert store.arguments == ("--store", f"{tmp_path}/.local/share/nix/root")
        store = invocation.choose_store(nix_of(tmp_path, forbidden, XDG_DATA_HOME="/dev/shm/x"), needed=True)
        assert store.arguments == ("--store", "/dev/shm/x/nix/root")

    def test_a_user_without_a_home_is_told(self, forbidden: Path) -> None:
        with pytest.raises(shim.StoreUnavailableError) as caught:
            invocation.choose_store(nix_of(forbidden, forbidden), needed=True)
        assert str(forbidden) in caught.value.message
        assert "HOME" in str(caught.value.hint)

    def test_a_home_that_may_not_be_looked_at_is_none(self, forbidden: Path) -> None:
        with pytest.raises(shim.StoreUnavailableError):
            invocation.choose_store(nix_of(forbidden / ("x" * 300), forbidden), needed=True)


def test_settings_of_the_caller_win() -> None:
    nix = Nix(options={"eval-cache": "true", "cores": "1"}, offline=True)
    arguments = " ".join(invocation.settings(nix, eval_cache="false"))
    assert "--option eval-cache true" in arguments
    assert "eval-cache false" not in arguments
    assert "--option cores 1" in arguments
    assert "--option substitute false" in arguments


@pytest.mark.parametrize(
    ("line", "implementation", "release"),
    [
        ("nix (Nix) 2.8.0", Implementation.NIX, (2, 8, 0)),
        ("nix (Nix) 2.32.0pre20250818_abcdef", Implementation.NIX, (2, 32, 0)),
        ("nix (Lix, like Nix) 2.93.3", Implementation.LIX, (2, 93, 3)),
        ("nix (Determinate Nix 3.11.2) 2.31.1", Implementation.DETERMINATE, (2, 31, 1)),
    ],
)
def test_probe_tells_whose_nix_it_is(
    tmp_path: Path, line: str, implementation: Implementation, release: tuple[int, ...]
) -> None:
    program = tmp_path / "nix"
    program.write_text(
        f"#!/bin/sh\n[ \"$1\" = --version ] && echo '{line}' && exit\n"
        "echo 'system = x86_64-linux'; echo 'system-features = kvm  nixos-test'; echo 'sandbox = relaxed'\n"
    )
    program.chmod(0o755)
    found = shim.probe(nix=Nix(program=str(program)))
    assert (found.implementation, found.release) == (implementation, release)
    assert found.version == line.rpartition(" ")[2]
    assert found.system_features == {"kvm", "nixos-test"}
    assert found.sandbox


@pytest.mark.nix
def test_probe_of_this_nix(nix: Nix) -> None:
    found = shim.probe(nix=nix)
    assert found.release >= (2, 8)
    assert found.system == shim.evaluate("builtins.currentSystem", impure=True, nix=nix)
    assert (
        found.version == shim.evaluate("builtins.nixVersion", nix=nix)
        or found.implementation != Implementation.NIX
    )
    assert {"flakes", "nix-command"} <= found.experimental_features


@pytest.mark.parametrize("output", ["", "nothing of that kind"])
def test_probe_of_something_else(tmp_path: Path, output: str) -> None:
    program = tmp_path / "nix"
    program.write_text(f"#!/bin/sh\necho '{output}'\n")
    program.chmod(0o755)
    with pytest.raises(shim.NixMissingError, match="does not tell its version"):
        shim.probe(nix=Nix(program=str(program)))
