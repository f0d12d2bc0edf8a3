"""nix/modules/fetch-store.sh as a stage 1 starts it: what it finds there, and what it leaves."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path

from support.needs import give_up, require_tool

MODULES = Path(__file__).parents[2] / "nix/modules"
SCRIPTS = [MODULES / name for name in ("node/arguments.sh", "store-cache.sh", "fetch-store.sh")]
CUT = MODULES / "cut-store.py"
# The mount is the program's own, and goes with it: what it left there is copied first. A loop device stays.
_KEEP = """
bash "$1"
status=$?
if [ -e "$2/store/device" ]; then
  head -c "$3" "$2/store/device" > "$2/image"
  readlink "$2/store/device" > "$2/looped"
  cat "/sys/block/$(basename "$(readlink "$2/store/device")")/loop/backing_file" > "$2/backing"
  losetup --detach "$(cat "$2/looped")"
else
  cp "$2/store/image" "$2/image" 2>/dev/null
fi
exit $status
"""


def cut_image(image: Path) -> str:
    """The lines of a store's image that its initrd has."""
    done = subprocess.run([sys.executable, CUT, image], capture_output=True, text=True, check=True)
    return done.stdout


def require_root() -> None:
    require_tool("unshare", "install util-linux")
    if os.geteuid() != 0:
        give_up("the store's image lies in a mount of its own, which root makes")


@dataclass
class Stage1:
    """A directory with what the program finds in stage 1. ``cache``: the disk that keeps the image."""

    directory: Path
    image: bytes
    piece: int
    cache: Path | None = None
    environment: dict[str, str] = field(default_factory=dict)

    def run(self, *urls: str, more: str = "", status: int = 0) -> str:
        """What it says; ``status`` is how it is to end. The image is the right one, or not whole."""
        process = self.start(*urls, more=more)
        try:
            said, errors = process.communicate(timeout=120)
        finally:
            process.kill()
        assert process.returncode == status, said + errors
        assert errors == ""
        assert (self.directory / "retries").read_text() == "6\n"
        kept = self.kept()
        assert kept == self.image[: len(kept)]
        if status == 0:
            assert kept == self.image
        return said

    def start(self, *urls: str, more: str = "") -> subprocess.Popen[str]:
        """The program, in a session of its own."""
        pieces = [self.image[at : at + self.piece] for at in range(0, len(self.image), self.piece)]
        sums = [f"{len(self.image)} {self.piece}", *(hashlib.sha256(each).hexdigest() for each in pieces)]
        self.write("sums", "\n".join(sums) + "\n")
        self.write("cmdline", f"init=/x every_channel.store={','.join(urls)} quiet {more}\n")
        self.write("retries", "6\n")
        self.write("bin/systemctl", '#!/bin/sh\necho "$@" > "$(dirname "$0")/called"\n')
        (self.directory / "bin/systemctl").chmod(0o755)
        self.write("script", "".join(each.read_text() for each in SCRIPTS))
        if self.cache is not None:
            (self.directory / "whole").write_bytes(self.image)
            self.write("chunks", cut_image(self.directory / "whole"))
        (self.directory / "image").unlink(missing_ok=True)
        memory = self.directory / "meminfo"
        environment = {
            "PATH": f"{self.directory}/bin:{os.environ['PATH']}",
            "BUSYBOX": require_tool("busybox", "install busybox-static"),
            "CMDLINE": str(self.directory / "cmdline"),
            "MEMINFO": str(memory) if memory.exists() else "/proc/meminfo",
            "SUMS": str(self.directory / "sums"),
            "CHUNKS": str(self.directory / "chunks"),
            "CACHE": "" if self.cache is None else str(self.cache),
            "CACHE_SECONDS": "0",
            "SYN_RETRIES": str(self.directory / "retries"),
            "DIRECTORY": str(self.directory / "store"),
            "FIRST_PAUSE": "0",
            "STALL_SECONDS": "5",
            **self.environment,
        }
        words = [str(self.directory / "script"), str(self.directory), str(len(self.image))]
        return subprocess.Popen(
            ["unshare", "--mount", "bash", "-c", _KEEP, "keep", *words],
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    def kept(self) -> bytes:
        path = self.directory / "image"
        return path.read_bytes() if path.exists() else b""

    def is_on_disk(self) -> bool:
        """Whether the image that it left lies on the disk, and not in memory."""
        path = self.directory / "backing"
        return path.exists() and path.read_text().strip() == str(self.cache)

    def rebooted(self) -> bool:
        return (self.directory / "bin/called").exists()

    def write(self, name: str, text: str) -> None:
        path = self.directory / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
