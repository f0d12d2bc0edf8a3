"""What ``nix --version`` and ``nix show-config`` say, as fields."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from support.fake_nix import FakeProcess, error_event

from pynix_eval_shim.errors import NixError, NixMissingError
from pynix_eval_shim.probing import Implementation, Probe, probe

if TYPE_CHECKING:
    from pathlib import Path

    from pynix_eval_shim.invocation import Nix


def ask(run: FakeProcess, nix: Nix, config: str, version: str = "nix (Nix) 2.8.0") -> Probe:
    run.answers = [(0, f"{version}\n", ""), (0, config, "")]
    return probe(nix=nix)


@pytest.mark.parametrize(
    ("line", "implementation", "version", "release"),
    [
        ("nix (Nix) 2.8.0pre", Implementation.NIX, "2.8.0pre", (2, 8, 0)),
        ("nix (Lix, like Nix) 2.93.0-dev", Implementation.LIX, "2.93.0-dev", (2, 93, 0)),
        ("nix (Determinate Nix 3.6.2) 2.29.0", Implementation.DETERMINATE, "2.29.0", (2, 29, 0)),
    ],
)
def test_whose_nix_it_is(
    run: FakeProcess,
    fake: Nix,
    line: str,
    implementation: Implementation,
    version: str,
    release: tuple[int, ...],
) -> None:
    found = ask(run, fake, "system = x", line)
    assert (found.implementation, found.version, found.release) == (implementation, version, release)


def test_each_setting_is_a_line(run: FakeProcess, fake: Nix) -> None:
    found = ask(
        run,
        fake,
        "no setting\nbuilders = ssh://a x86_64-linux\nsystem = aarch64-linux \n"
        "system-features = big-parallel  kvm\nexperimental-features = flakes nix-command\nsandbox = relaxed\n"
        "extra-platforms = system = y\n",
    )
    assert found == Probe(
        implementation=Implementation.NIX,
        version="2.8.0",
        release=(2, 8, 0),
        system="aarch64-linux",
        system_features=frozenset({"big-parallel", "kvm"}),
        experimental_features=frozenset({"flakes", "nix-command"}),
        sandbox=True,
        remote_builders=True,
    )


@pytest.mark.parametrize("config", ["", "systems = a\nextra = system = b", "nothing of that kind"])
def test_settings_without_a_system_are_no_nixs(run: FakeProcess, fake: Nix, config: str) -> None:
    with pytest.raises(NixError, match="its settings do not say for which system it builds") as caught:
        ask(run, fake, config)
    assert caught.value.message.startswith(fake.find("nix"))


@pytest.mark.parametrize(
    ("builders", "remote"),
    [("", False), ("  ", False), ("ssh://a", True), ("@", False), ("@{}/none", False), ("@{}", False)],
)
def test_builders_that_are_named_and_files_that_are_none(
    run: FakeProcess, fake: Nix, tmp_path: Path, builders: str, remote: bool
) -> None:
    found = ask(run, fake, f"system = x\nbuilders = {builders.format(tmp_path)}")
    assert found.remote_builders is remote


def test_a_nix_that_is_missing_is_not_asked(run: FakeProcess, fake: Nix, bin_directory: Path) -> None:
    (bin_directory / "nix").unlink()
    with pytest.raises(NixMissingError, match="program not found"):
        probe(nix=fake)
    assert run.calls == []


def test_settings_that_nix_refuses_to_tell(run: FakeProcess, fake: Nix) -> None:
    run.answers = [(0, "nix (Nix) 2.30.0\n", ""), (1, "", error_event("cannot read nix.conf"))]
    with pytest.raises(NixError, match=r"cannot read nix\.conf"):
        probe(nix=fake)
