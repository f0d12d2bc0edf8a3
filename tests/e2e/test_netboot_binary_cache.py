"""A release with the closures of installed systems: packed, staged, served, and read by stock Nix."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from support.boot_service import Service, boot_service, require_boot_services, write_settings
from support.buildable import offline_environment
from support.kernels import system_files
from support.needs import require_tool
from support.releases import release_files, write_archive

from ectools.netboot.kernel import KernelArchitecture
from ectools.netboot.release.store import ReleaseStore

pytestmark = [pytest.mark.nix, pytest.mark.timeout(300)]

NETBOOT = [sys.executable, "-m", "ectools.cli.main", "netboot"]
# A toplevel as far as this goes: its file `system`, and a path of a closure that all versions share.
SYSTEMS = """
{ version, system }:
let
  make = name: script: derivation {
    inherit name;
    system = builtins.currentSystem;
    builder = "/bin/sh";
    args = [ "-c" "PATH=/bin:/usr/bin; ${script}" ];
  };
  common = make "every-channel-test-common" "head -c 100000 /dev/zero | tr '\\\\0' x > $out";
in
make "nixos-system-test" "mkdir $out; echo ${system} > $out/system; echo ${version} ${common} > $out/text"
"""


def nix(*argv: str | Path, status: int = 0) -> subprocess.CompletedProcess[str]:
    require_tool(str(argv[0]), "install nix (Debian: nix-bin)")
    done = subprocess.run(
        list(map(str, argv)), env=offline_environment(), capture_output=True, text=True, check=False
    )
    assert done.returncode == status, done.stderr
    return done


def netboot(*arguments: str | Path, status: int = 0) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(
        [*NETBOOT, *map(str, arguments)],
        env=offline_environment(),
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == status, done.stderr
    return done


@pytest.fixture
def key(tmp_path: Path) -> Path:
    """The secret key; the public one is beside it as ``key.pub``."""
    nix("nix-store", "--generate-binary-cache-key", "boot.test-1", tmp_path / "key", tmp_path / "key.pub")
    return tmp_path / "key"


def build_system(directory: Path, version: str, system: str = "x86_64-linux") -> Path:
    expression = directory / "systems.nix"
    expression.write_text(SYSTEMS)
    link = directory / f"result {version} {system}"
    nix("nix-build", expression, "--argstr", "version", version, "--argstr", "system", system, "-o", link)
    return link


def pack(directory: Path, key: Path, version: str, outputs: list[Path], systems: list[Path]) -> list[Path]:
    out = directory / f"out of {version}"
    arguments: list[str | Path] = [*outputs, "--tag", f"boot-v{version}", "-o", out, "--nix-key-file", key]
    for system in systems:
        arguments += ["--with-system", system]
    packed = json.loads(netboot("pack", *arguments, "--json").stdout)
    assert not list(out.glob(".cache-*"))
    return [Path(archive["archive"]) for archive in packed["archives"]]


def write_output(directory: Path, files: dict[str, bytes]) -> Path:
    directory.mkdir()
    for name, data in files.items():
        (directory / name).write_bytes(data)
    return directory


def stage(state: Path, archives: list[Path]) -> str:
    tarballs = [word for archive in archives for word in ("--tarball", str(archive))]
    staged = json.loads(netboot("stage", *tarballs, "--state-dir", state, "--json").stdout)
    return str(staged["release"]["id"])


def copy(service: Service, address: str, system: Path, to: Path, *, key: str, status: int = 0) -> str:
    done = nix(
        *("nix", "copy", "--from", f"http://{service.address}:{service.port}{address}"),
        *("--to", f"local?root={to}", "--option", "trusted-public-keys", key, system.resolve()),
        status=status,
    )
    return done.stderr


def read_copied(root: Path, system: Path) -> str:
    return (root / str(system.resolve()).lstrip("/") / "text").read_text()


def test_stock_nix_takes_a_system_from_a_release(tmp_path: Path, key: Path) -> None:
    require_boot_services()
    public = key.with_suffix(".pub").read_text().strip()
    system = build_system(tmp_path, "1")
    output = write_output(tmp_path / "output", release_files())
    state = tmp_path / "state"
    release = stage(state, pack(tmp_path, key, "1", [output], [system]))
    with boot_service(write_settings(tmp_path)) as service:
        where = f"/releases/{release}/cache"
        copy(service, where, system, tmp_path / "node", key=public)
        assert read_copied(tmp_path / "node", system).startswith("1 /nix/store/")
        # Nothing that another key has signed, or nobody.
        other = "boot.test-1:" + "A" * 43 + "="
        told = copy(service, where, system, tmp_path / "other", key=other, status=1)
        assert "signature" in told
        assert not list((tmp_path / "other").rglob("text"))
        assert service.get(f"{where}/roots.txt").body.decode() == f"{system.resolve()}\n"
        assert service.get(f"{where}/{'0' * 32}.narinfo").status == 404


def test_two_releases_have_one_copy_of_what_they_share(tmp_path: Path, key: Path) -> None:
    output = write_output(tmp_path / "output", release_files())
    state, store = tmp_path / "state", ReleaseStore(tmp_path / "state")
    ids = []
    for version in ("1", "2"):
        system = build_system(tmp_path, version)
        ids.append(stage(state, pack(tmp_path, key, version, [output], [system])))
    contents = [sorted((store.directory(each) / "cache" / "nar").iterdir()) for each in ids]
    names = [{path.name for path in paths} for paths in contents]
    assert [len(each) for each in names] == [2, 2]
    (common,) = names[0] & names[1]
    for paths in contents:
        links = {path.name: path.stat().st_nlink for path in paths}
        assert {name for name, count in links.items() if count == 2} == {common}
    netboot("releases", "verify", "--state-dir", state)
    # One goes, the other stays whole.
    third = stage(state, [write_archive(tmp_path, release_files("three"))])
    netboot("releases", "collect", "--keep", "0", "--state-dir", state)
    assert set(store.list_ids()) == {ids[1], third}
    (left,) = (path for path in contents[1] if path.name == common)
    assert left.stat().st_nlink == 1
    netboot("releases", "verify", "--state-dir", state)


def test_of_a_damaged_release_nothing_is_shared(tmp_path: Path, key: Path) -> None:
    output = write_output(tmp_path / "output", release_files())
    state, store = tmp_path / "state", ReleaseStore(tmp_path / "state")
    first = stage(state, pack(tmp_path, key, "1", [output], [build_system(tmp_path, "1")]))
    for path in (store.directory(first) / "cache" / "nar").iterdir():
        path.write_bytes(path.read_bytes()[:-1] + b"?")
    second = stage(state, pack(tmp_path, key, "2", [output], [build_system(tmp_path, "2")]))
    assert {path.stat().st_nlink for path in (store.directory(second) / "cache" / "nar").iterdir()} == {1}
    netboot("releases", "verify", second, "--state-dir", state)


def test_a_release_for_two_architectures_has_one_address(tmp_path: Path, key: Path) -> None:
    require_boot_services()
    public = key.with_suffix(".pub").read_text().strip()
    outputs = [
        write_output(tmp_path / each, system_files(each))
        for each in (KernelArchitecture.X86_64, KernelArchitecture.AARCH64)
    ]
    systems = [build_system(tmp_path, "1", each) for each in ("x86_64-linux", "aarch64-linux")]
    state = tmp_path / "state"
    release = stage(state, pack(tmp_path, key, "1", outputs, systems))
    with boot_service(write_settings(tmp_path)) as service:
        for system in systems:
            to = tmp_path / f"node of {system.name}"
            copy(service, f"/releases/{release}/cache", system, to, key=public)
            assert read_copied(to, system)
        # Whose roots these would be, nobody could tell.
        assert service.get(f"/releases/{release}/cache/roots.txt").status == 404
        own = f"/releases/{release}/ec-runner-aarch64-netboot/cache/roots.txt"
        assert service.get(own).body.decode() == f"{systems[1].resolve()}\n"


@pytest.mark.parametrize(
    ("case", "told"),
    [
        ("no system", "is no NixOS system: it has no file `system`"),
        ("riscv", "is for 'riscv64-linux'; a release's systems are for x86_64-linux or aarch64-linux"),
        ("no output", "there is an installed system for aarch64, and no netboot output for it"),
        ("taken", "has a cache/x, where the systems' binary cache is to be"),
        ("no key", "there is no such file"),
        ("bad key", "cannot be copied: "),
        ("not in a store", "cannot be copied: "),
    ],
)
def test_what_cannot_be_packed_is_told_and_nothing_is_written(
    tmp_path: Path, key: Path, case: str, told: str
) -> None:
    output = write_output(tmp_path / "output", release_files())
    out = tmp_path / "out"
    platform = {"riscv": "riscv64-linux", "no output": "aarch64-linux"}.get(case, "x86_64-linux")
    system = output if case == "no system" else build_system(tmp_path, "1", platform)
    if case == "taken":
        (output / "cache").mkdir()
        (output / "cache" / "x").touch()
    if case == "not in a store":
        system = tmp_path / "copy"
        system.mkdir()
        (system / "system").write_text("x86_64-linux\n")
    if case == "no key":
        key.unlink()
    if case == "bad key":
        key.write_text("no key at all")
    arguments = ("--tag", "v1", "-o", out, "--with-system", system, "--nix-key-file", key)
    status = 1 if told == "cannot be copied: " else 2
    done = netboot("pack", output, *arguments, status=status)
    assert told in done.stderr
    assert "Traceback" not in done.stderr
    assert not out.exists() or not os.listdir(out)
    secret = re.search(r":(\S+)", key.read_text()) if key.exists() else None
    assert secret is None or secret[1] not in done.stderr


def test_a_system_and_its_key_go_together(tmp_path: Path) -> None:
    output = write_output(tmp_path / "output", release_files())
    done = netboot("pack", output, "--tag", "v1", "--with-system", output, status=2)
    assert "--with-system and --nix-key-file go together" in done.stderr
