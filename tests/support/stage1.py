"""NixOS's scripted stage 1 as far as it mounts things: busybox alone, in a mount namespace of its own."""

from __future__ import annotations

import contextlib
import os
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from support.needs import give_up, require_tool

# What stage-1-init.sh has done by postMountCommands. $1: the tree; then pairs of image and mount point.
_DRIVER = r"""
set -e
tree=$1; shift
mount -t tmpfs none "$tree"
mkdir "$tree/bin" "$tree/proc" "$tree/dev" "$tree/run" "$tree/mnt-root"
cp "$(command -v busybox)" "$tree/bin/busybox"
chroot "$tree" /bin/busybox --install -s /bin
mount -t proc none "$tree/proc"
mount --bind /dev "$tree/dev"
mount -t tmpfs none "$tree/run"
while [ $# -gt 0 ]; do
  mkdir -p "$tree/mnt-root$2"
  mount -o loop "$1" "$tree/mnt-root$2"
  shift 2
done
cat > "$tree/stage1"
env -i PATH=/bin "$(command -v chroot)" "$tree" /bin/ash /stage1
echo ready
exec sleep infinity
"""


@dataclass(frozen=True)
class Booted:
    """The mounts that stage 1 leaves behind: ``root`` is what becomes /, ``run`` what becomes /run."""

    pid: int
    tree: Path

    @property
    def root(self) -> Path:
        return self.tree / "mnt-root"

    @property
    def real(self) -> Path:
        return self.tree / "run/every-channel/root"

    def run(self, *argv: str | Path) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            ["nsenter", "--target", str(self.pid), "--mount", "--", *map(str, argv)],
            capture_output=True,
            text=True,
            check=False,
        )

    def read(self, *argv: str | Path) -> str:
        done = self.run(*argv)
        assert done.returncode == 0, f"{argv}: {done.stderr}"
        return done.stdout


def make_image(path: Path) -> Path:
    """An empty ext4 as a file."""
    mkfs = require_tool("mkfs.ext4", "install e2fsprogs")
    with path.open("wb") as file:
        file.truncate(16 << 20)
    subprocess.run([mkfs, "-q", "-F", str(path)], check=True)
    return path


@contextlib.contextmanager
def boot_scripted(
    directory: Path, *, post_mount_commands: str, images: Mapping[str, Path]
) -> Iterator[Booted]:
    """One boot, ended with the block: ``images`` are file systems by mount point, "" for the root's."""
    require_tool("busybox", "install busybox-static")
    if os.geteuid() != 0:
        give_up("only root can mount")
    tree = directory / "stage1"
    tree.mkdir(exist_ok=True)
    arguments = [part for mount_point, image in images.items() for part in (str(image), mount_point)]
    script = 'fail() { echo "stage 1 failed" >&2; exit 1; }\n' + post_mount_commands
    process = subprocess.Popen(
        ["unshare", "--mount", "--propagation", "private", "sh", "-c", _DRIVER, "sh", str(tree), *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        process.stdin.write(script)
        process.stdin.close()
        said = []
        for line in process.stdout:
            said.append(line)
            if line == "ready\n":
                break
        else:
            raise AssertionError(f"stage 1 did not end well:\n{''.join(said)}")
        yield Booted(process.pid, tree)
    finally:
        process.kill()
        process.wait()
        process.stdout.close()
