"""A signed release of the runner, made as its publisher makes one."""

from __future__ import annotations

import json
import subprocess
from dataclasses import dataclass
from typing import TYPE_CHECKING

from support.needs import require_tool
from support.nixos_build import Flake, run_ectools

if TYPE_CHECKING:
    from pathlib import Path

RUNNER = "ec-runner-x86_64-netboot"
_TAG = "boot-v2026.03.02"
# Names are looked up by systemd-resolved, which a nixpkgs of another distribution's packages may lack.
FETCHES = """
{ pkgs, ... }:
{
  services.every-channel.runner.store = "http";
  boot.initrd.systemd.enable = true;
  boot.initrd.services.resolved.enable = false;
}
"""
KEEPS = """
  services.every-channel.runner.storeCache = "/dev/disk/by-id/virtio-store-cache";
  boot.initrd.availableKernelModules = [ "virtio_blk" "virtio_pci" ];
"""
"""Options of a runner that keeps its store on the disk that ``make_cache_disk`` gives a machine."""
CHANGES_A_PACKAGE = """
  services.openssh.package = pkgs.runCommandLocal "openssh" { inherit (pkgs.openssh) meta; } ''
    cp -a ${pkgs.openssh} $out
    chmod -R u+w $out
    for each in $out/bin/* $out/libexec/*; do
      [ -L "$each" ] || [ ! -f "$each" ] || printf changed >> "$each"
    done
  '' // { inherit (pkgs.openssh) version; };
"""


@dataclass(frozen=True, kw_only=True)
class Release:
    """``published``: archive, sums and signature. ``built``: what Nix has made for a boot server."""

    archive: Path
    published: tuple[Path, ...]
    public_key: Path
    built: Path
    toplevel: Path

    @property
    def closure(self) -> list[str]:
        """The store paths of the system."""
        return (self.built / "closure.txt").read_text().split()


def build_image(flake: Flake) -> tuple[Path, Path]:
    """What a boot server serves, and the system in it."""
    build = f"nixosConfigurations.{RUNNER}.config.system.build"
    return flake.build(f"{build}.netboot"), flake.build(f"{build}.toplevel")


def pack_release(flake: Flake, built: Path, toplevel: Path, directory: Path, *more: str | Path) -> Release:
    """The files of a release, in ``directory``, which must exist; with a new key. ``more``: the command's."""
    keygen = require_tool("ssh-keygen", "Debian: openssh-client")
    key = directory / "key"
    subprocess.run([keygen, "-q", "-t", "ed25519", "-N", "", "-f", key], check=True, stdin=subprocess.DEVNULL)
    signed = ("--signature-format", "openssh", "--key-file", key)
    words = ("netboot", "pack", built, "--tag", _TAG, "--out", directory, *signed, *more, "--json")
    packed = json.loads(run_ectools(flake, *words))
    published = tuple(directory / packed[name] for name in ("archive", "sums", "signature"))
    return Release(
        archive=published[0],
        published=published,
        public_key=key.with_suffix(".pub"),
        built=built,
        toplevel=toplevel,
    )


def pack_fetching(flake: Flake, directory: Path, *more: str) -> Release:
    """The same of a runner whose stage 1 fetches its store. ``more``: further options of it, as Nix."""
    directory.mkdir(exist_ok=True)
    extended = flake.extend(directory / "flake", RUNNER, FETCHES.replace("}\n", "".join([*more, "}\n"])))
    built, toplevel = (
        extended.build(f"nixosConfigurations.extended.config.system.build.{each}")
        for each in ("netboot", "toplevel")
    )
    (directory / "release").mkdir()
    return pack_release(flake, built, toplevel, directory / "release")


def make_cache_disk(path: Path) -> list[str]:
    """QEMU's arguments for a scratch disk of 1 GiB, new unless it is there."""
    if not path.exists():
        with path.open("wb") as file:
            file.truncate(1 << 30)
    drive = f"file={path},if=none,id=cache,format=raw,discard=unmap"
    return ["-drive", drive, "-device", "virtio-blk-pci,drive=cache,serial=store-cache,bootindex=9"]
