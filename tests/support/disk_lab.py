"""What the labs of machines with disks share: small systems in releases, a machine of its own, power cuts."""

from __future__ import annotations

import os
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from support.boot_service import require_boot_services
from support.buildable import offline_environment
from support.needs import give_up, require_tool

from ectools.netboot.release.binary_cache import write_binary_cache

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

KEY = "boot.test-1"
LAB_SECONDS = 300
"""That one run of a program on such a machine has."""
_NEEDS = {
    "losetup": "mount",
    "mkfs.ext4": "e2fsprogs",
    "unshare": "util-linux",
    "curl": "curl",
    "busybox": "busybox-static",
}


def require_lab_tools(**more: str) -> None:
    """Programs, root, and loop devices. ``more``: program → Debian's package."""
    require_boot_services()
    for program, package in {**_NEEDS, **more}.items():
        require_tool(program, f"Debian: {package}")
    require_tool("nix-build", "install nix (Debian: nix-bin)")
    if not Path("/dev/loop-control").exists():
        give_up("there is no /dev/loop-control: modprobe loop")


@dataclass(frozen=True, kw_only=True)
class Installable:
    """A system to install, and the files of a release that carries it. ``public_key`` is Nix's."""

    store_path: str
    files: Mapping[str, bytes]
    public_key: str
    version: str

    def beside(self, other: Installable) -> Mapping[str, bytes]:
        """The files of a release that carries another one too."""
        roots = self.files["cache/roots.txt"] + other.files["cache/roots.txt"]
        return {**self.files, **other.files, "cache/roots.txt": roots}


def build_installable(
    expression: Path, version: str, *, kernel: bytes, key: str = "key", **arguments: str
) -> Installable:
    """A system of that version, in a release of its own, with a cache signed by ``key``.

    ``expression`` takes ``version``, ``busybox`` and ``arguments``; beside it stand all files.
    """
    env, directory = offline_environment(), expression.parent
    busybox = str(Path(require_tool("busybox", "Debian: busybox-static")).resolve())
    link, secret = directory / f"result-{version}", directory / key
    named = {"version": version, "busybox": busybox, **arguments}
    strings = [word for name, value in named.items() for word in ("--argstr", name, value)]
    run_tool(["nix-build", str(expression), *strings, "--out-link", str(link)], env=env)
    if not secret.exists():
        run_tool(["nix-store", "--generate-binary-cache-key", KEY, str(secret), f"{secret}.pub"], env=env)
    cache = directory / f"cache-{version}-{key}"
    cache.mkdir()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("NIX_CONFIG", env["NIX_CONFIG"])
        written = write_binary_cache([link.resolve()], cache, key_file=secret)
    files = {name: path.read_bytes() for name, path in written.items()}
    return Installable(
        store_path=str(link.resolve()),
        files={"bzImage": kernel, "initrd": b"initrd", **files},
        public_key=Path(f"{secret}.pub").read_text().strip(),
        version=version,
    )


def run_alone(
    argv: Sequence[str],
    *,
    programs: Path,
    public_key: str,
    env: Mapping[str, str],
    seconds: float = LAB_SECONDS,
) -> subprocess.CompletedProcess[str]:
    """A program as on a machine of its own, which takes its mounts and processes with it.

    ``programs``: a directory of those that it has in place of this machine's. Nix trusts ``public_key`` too.
    """
    nix = offline_environment()
    alone = ["unshare", "--mount", "--propagation", "private", "--pid", "--fork", "--kill-child"]
    return subprocess.run(
        [*alone, "--mount-proc", *argv],
        env={
            **nix,
            "NIX_CONFIG": f"{nix['NIX_CONFIG']}\ntrusted-public-keys = {public_key}",
            "PATH": f"{programs}:{os.environ['PATH']}:/usr/sbin:/sbin",
            **env,
        },
        capture_output=True,
        text=True,
        errors="replace",
        timeout=seconds,
        check=False,
    )


def write_power_cut(
    file: Path, disks: Mapping[Path, Path], *, at: int, count: Path, before: str = ":"
) -> Path:
    """For $BASH_ENV: before the program's command ``at`` each of ``disks`` is copied, as it is then.

    What only the file systems' memory has is not on it. Then the program is killed; 0: it goes on to its end,
    and ``count`` has how many commands there were. ``before`` each of them that is run first.
    """
    copied = "; ".join(
        f'mkdir -p "{cut.parent}"; cp --sparse=always "{disk}" "{cut}"' for disk, cut in disks.items()
    )
    action = f'if [ "$commands" -eq {at} ]; then {copied}; kill -KILL $$; fi'
    file.write_text(
        f"""\
unset BASH_ENV
commands=0
count_command() {{
  [ "$BASHPID" = $$ ] || return 0
  {before}
  commands=$((commands + 1))
  {action if at else f'echo "$commands" > "{count}"'}
}}
set -o functrace
trap count_command DEBUG
"""
    )
    return file


def run_tool(argv: Sequence[str], *, env: Mapping[str, str] | None = None, check: bool = True) -> str:
    """What a program prints, which has to succeed, but without ``check``."""
    done = subprocess.run(
        list(argv), env=None if env is None else dict(env), capture_output=True, text=True, check=False
    )
    assert not check or done.returncode == 0, f"{argv}: {done.stderr}"
    return done.stdout
