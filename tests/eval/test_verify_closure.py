"""Systems built again from their flake, and compared with what runs and with what was published."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tarfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from support.rebuilding import make_key

from ectools.netboot.publishing.rebuilt import open_rebuilt
from pynix_eval_shim import build, requisites

pytestmark = pytest.mark.nix

FLAKE = Path(__file__).parent / "closures"
ECTOOLS = (sys.executable, "-m", "ectools.cli.main", "verify-closure")


@dataclass(frozen=True)
class Flake:
    """The two systems, both built: ``directory`` holds a link to each, as /run/current-system is one."""

    directory: Path
    nixpkgs: Path
    env: Mapping[str, str]

    def verify(self, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [
                *ECTOOLS,
                *map(str, arguments),
                "--flake",
                str(self.directory / "flake"),
                "--nixpkgs",
                str(self.nixpkgs),
            ],
            env=dict(self.env),
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )

    def json(self, *arguments: str | Path) -> tuple[int, dict[str, Any]]:
        done = self.verify(*arguments, "--json")
        assert done.stdout, done.stderr
        return done.returncode, json.loads(done.stdout)

    def toplevel(self, name: str) -> str:
        return str((self.directory / name).resolve())

    def listing(self, name: str) -> str:
        return "".join(f"{path}\n" for path in requisites(self.toplevel(name)))

    def script(self, name: str) -> str:
        kernel = f"kernel kernel init={self.toplevel(name)}/init initrd=initrd ${{cmdline}}"
        return f"#!ipxe\n{kernel}\ninitrd initrd\nboot\n"


@pytest.fixture(scope="module")
def flake(nixpkgs: Path, nix_env: Mapping[str, str], tmp_path_factory: pytest.TempPathFactory) -> Flake:
    directory = tmp_path_factory.mktemp("systems")
    shutil.copytree(FLAKE, directory / "flake-source")
    # A link, as the flake on a node is one.
    (directory / "flake").symlink_to("flake-source")
    systems = f"path:{directory / 'flake-source'}#nixosConfigurations"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("NIX_CONFIG", nix_env["NIX_CONFIG"])
        for name in ("plain", "loud"):
            build(
                installable=f"{systems}.{name}.config.system.build.toplevel",
                override_inputs={"nixpkgs": f"path:{nixpkgs}"},
                out_link=directory / name,
            )
    return Flake(directory, nixpkgs, nix_env)


def test_the_system_that_runs_is_the_one_of_the_flake(flake: Flake) -> None:
    status, shown = flake.json("plain", "--system", flake.directory / "plain")
    assert status == 0
    assert shown["same"]
    assert shown["changed"] == shown["added"] == shown["removed"] == []
    assert shown["rebuilt"]["toplevel"] == shown["other"]["toplevel"] == flake.toplevel("plain")
    assert shown["rebuilt"]["paths"] == shown["other"]["paths"] >= 4


def test_what_was_built_again_is_signed_with_the_hashes_of_its_paths(flake: Flake, tmp_path: Path) -> None:
    private, public = make_key()
    (tmp_path / "key").write_bytes(private)
    out = tmp_path / "statement"
    signing = ("--sign", tmp_path / "key", "--signature-format", "openssl", "-o", out)
    assert flake.verify("plain", "--system", flake.directory / "loud", *signing).returncode == 1
    assert not out.exists()
    assert flake.verify("plain", "--system", flake.directory / "plain", *signing).returncode == 0
    found = open_rebuilt(out.read_bytes(), public_key=public, where=str(out))
    assert found.system == flake.toplevel("plain")
    assert set(found.hashes) == set(requisites(found.system))
    argv = ["nix-store", "--query", "--hash", found.system]
    told = subprocess.run(argv, env=dict(flake.env), capture_output=True, text=True, check=True)
    assert found.hashes[found.system] == told.stdout.strip()


def test_one_option_changes_the_unit_and_its_script_and_nothing_else(flake: Flake) -> None:
    status, shown = flake.json("plain", "--system", flake.directory / "loud")
    assert (status, shown["same"]) == (1, False)
    assert {each["name"] for each in shown["changed"]} == {
        "greeter-start",
        "nixos-system-test-26.05",
        "unit-greeter.service",
    }
    assert shown["added"] == shown["removed"] == []
    for each in shown["changed"]:
        assert set(each["other"]) <= set(requisites(flake.toplevel("loud")))
    done = flake.verify("plain", "--system", flake.directory / "loud")
    assert done.returncode == 1
    assert "changed unit-greeter.service\n  rebuilt:   /nix/store/" in done.stdout
    assert done.stdout.endswith("they differ: 3 changed, 0 added, 0 removed\n")


def test_a_name_that_the_flake_does_not_have_is_bad_usage(flake: Flake) -> None:
    done = flake.verify("quiet", "--system", flake.directory / "plain")
    assert done.returncode == 2
    assert "has no such nixosConfiguration\n  hint: it has loud, plain" in done.stderr


def test_what_is_no_system_is_bad_usage(flake: Flake, tmp_path: Path) -> None:
    for arguments in (("--system", tmp_path), ("--published", tmp_path / "x"), ("--published", tmp_path)):
        assert flake.verify("plain", *arguments).returncode == 2
    both = flake.verify("plain", "--contents", "--published", tmp_path)
    assert (both.returncode, both.stdout) == (2, "")


@pytest.mark.parametrize("name", ["plain", "loud"])
def test_a_published_release(flake: Flake, tmp_path: Path, name: str) -> None:
    directory = tmp_path / "release"
    directory.mkdir()
    (directory / "netboot.ipxe").write_text(flake.script(name))
    (directory / "kernel").write_bytes(bytes(1000))
    (directory / "initrd").write_bytes(os.urandom(300_000))
    archive = tmp_path / "ec-runner-x86_64-netboot-boot-v2026.03.02.tar.gz"
    expected = 0 if name == "plain" else 1
    # Without a listing, the system's own path says it, and this machine's store the rest.
    status, shown = flake.json("plain", "--published", directory)
    assert (status, len(shown["changed"])) == (expected, 3 * expected)
    (directory / "closure.txt").write_text(flake.listing(name))
    with tarfile.open(archive, "w:gz") as tar:
        for file in sorted(directory.iterdir()):
            tar.add(file, file.name)
    for published in (directory, archive, directory / "closure.txt"):
        status, shown = flake.json("plain", "--published", published)
        assert (status, len(shown["changed"])) == (expected, 3 * expected)
        assert shown["other"]["origin"] == "published"


def test_a_release_that_was_built_elsewhere_is_known_by_its_listing_alone(
    flake: Flake, tmp_path: Path
) -> None:
    system = f"/nix/store/{'0' * 32}-nixos-system-test-26.05"
    (tmp_path / "netboot.ipxe").write_text(f"#!ipxe\nkernel kernel init={system}/init\nboot\n")
    status, shown = flake.json("plain", "--published", tmp_path)
    assert (status, shown["other"]["paths"]) == (1, None)
    own = requisites(flake.toplevel("plain"))
    new = f"/nix/store/{'1' * 32}-new"
    kept = [path for path in own if not path.endswith(("-nixos-system-test-26.05", "-fstab", "-etc-fstab"))]
    (tmp_path / "closure.txt").write_text("\n".join([*kept, system, new]))
    status, shown = flake.json("plain", "--published", tmp_path)
    assert status == 1
    assert [each["name"] for each in shown["changed"]] == ["nixos-system-test-26.05"]
    assert shown["added"] == [new]
    assert [path.rpartition("fstab")[1] for path in shown["removed"]] == ["fstab"]


def test_contents(flake: Flake) -> None:
    status, shown = flake.json("plain", "--system", flake.directory / "plain", "--contents")
    assert (status, shown["damaged"]) == (0, [])
