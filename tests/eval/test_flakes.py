"""The flake's outputs, and what `nix flake check` says of it, and of the example that imports it."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path

import pytest

from pynix_eval_shim import Nix, evaluate, flake_check

pytestmark = [pytest.mark.nix]

ROOT = Path(__file__).resolve().parent.parent.parent


@pytest.fixture(scope="module")
def names(nixpkgs: Path) -> Callable[[str], set[str]]:
    """``names(output)``: what stands below an output."""

    @cache
    def find(output: str) -> set[str]:
        inputs = {"nixpkgs": f"path:{nixpkgs}"}
        return set(
            evaluate(installable=f"{ROOT}#{output}", apply="builtins.attrNames", override_inputs=inputs)
        )

    return find


def test_every_output_that_users_rely_on_is_there(names: Callable[[str], set[str]]) -> None:
    runners = {
        f"ec-runner-{arch}{form}" for arch in ("aarch64", "x86_64") for form in ("", "-iso", "-netboot")
    }
    assert names("nixosConfigurations") == runners | {
        "ec-runner-aarch64-sdimage",
        "ec-publisher-x86_64",
        "ec-publisher-x86_64-netboot",
        "ecp-forge",
    }
    modules = {
        "ec-install",
        "ec-ipxe-qemu",
        "ec-netboot",
        "ec-node",
        "ec-publisher-guest",
        "ec-report",
        "ec-runner",
    }
    assert names("nixosModules") == modules | {"default"}
    for system in ("aarch64-linux", "x86_64-linux"):
        assert names(f"packages.{system}") == {"default", "docs", "ectools"}
        assert names(f"apps.{system}") >= {"demo", "docs", "ectools"}
        assert names(f"devShells.{system}") == {"default"}
        assert names(f"checks.{system}") >= {f"module-{name}" for name in modules}
        assert names(f"formatter.{system}")
    assert "default" in names("overlays")
    assert names("lib") >= {"optionsDump", "fleet"}
    assert names("templates") == {"default", "boot-host", "fleet"}


def test_each_system_has_a_check(names: Callable[[str], set[str]]) -> None:
    checks = names("checks.x86_64-linux") | names("checks.aarch64-linux")
    assert {f"host-{name}" for name in names("nixosConfigurations")} <= checks


def test_the_flake_passes_its_check(any_nix: Nix, nixpkgs: Path) -> None:
    flake_check(
        ROOT, override_inputs={"nixpkgs": f"path:{nixpkgs}"}, no_build=True, all_systems=True, nix=any_nix
    )


@pytest.mark.parametrize("template", ["default", "boot-host", "fleet"])
def test_what_a_template_starts_passes_its_check(
    template: str, any_nix: Nix, nixpkgs: Path, nix_env: Mapping[str, str], tmp_path: Path
) -> None:
    """Outside of the repository, as ``nix flake init`` writes it, with other sources for its inputs."""
    argv = [any_nix.find("nix"), "flake", "init", "--template", f"{ROOT}#{template}"]
    made = subprocess.run(argv, cwd=tmp_path, env=nix_env, capture_output=True, text=True, check=False)
    assert made.returncode == 0, made.stderr
    assert {"flake.nix", "boot-host.nix"} <= {path.name for path in tmp_path.iterdir()}
    inputs = {"nixpkgs": f"path:{nixpkgs}", "every-channel": str(ROOT)}
    flake_check(tmp_path, override_inputs=inputs, no_build=True, nix=any_nix)
