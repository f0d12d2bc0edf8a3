"""The image of packaging/Containerfile, built on a Debian of this release by buildah: it serves over HTTP."""

from __future__ import annotations

import subprocess
import sys
import time
import urllib.request
from collections.abc import Sequence
from pathlib import Path

import pytest
from support.free_port import choose_port
from support.machine_image import find_image
from support.needs import require_tool

pytestmark = [pytest.mark.full, pytest.mark.timeout(2400)]

ROOT = Path(__file__).parents[2]


def test_the_image_is_built_and_serves(tmp_path: Path) -> None:
    buildah = require_tool("buildah", "install buildah")
    # No container inside a container: only what chroot(2) takes.
    options = [
        "--storage-driver",
        "vfs",
        "--root",
        str(tmp_path / "store"),
        "--runroot",
        str(tmp_path / "run"),
    ]
    confined = ["--isolation", "chroot", "--network", "host"]

    def call(*arguments: str) -> str:
        done = subprocess.run([buildah, *options, *arguments], capture_output=True, text=True, check=False)
        assert done.returncode == 0, (arguments, done.stdout[-2000:], done.stderr[-2000:])
        return done.stdout.strip()

    base = call("from", "scratch")
    call("add", "--quiet", base, str(find_image().tree), "/")
    call("commit", "--quiet", base, "localhost/base")
    build = ["--build-arg", "BASE=localhost/base", "--tag", "localhost/ectools", "--file"]
    call("bud", *confined, *build_wheels(tmp_path), *build, str(ROOT / "packaging/Containerfile"), str(ROOT))
    container = call("from", "localhost/ectools")
    (tmp_path / "boot").mkdir()
    (tmp_path / "boot/kernel").write_text("k")
    run = ["run", *confined, "--volume", f"{tmp_path}/boot:/boot:ro", container, "ectools"]
    assert call(*run, "--version").startswith("ectools, version")
    port = choose_port()
    serve = ["netboot", "http", "--root", "/boot", "--bind-ip", "127.0.0.1", "--port", str(port)]
    with subprocess.Popen([buildah, *options, *run, *serve], stderr=subprocess.DEVNULL) as server:
        try:
            assert fetch(f"http://127.0.0.1:{port}/kernel", server) == b"k"
        finally:
            server.terminate()


def build_wheels(directory: Path) -> Sequence[str]:
    """What pip needs in there, by this machine's own way to an index, as volumes of a build."""
    wheels = directory / "wheels"
    pip = [sys.executable, "-m", "pip", "wheel", "--quiet", "--wheel-dir", str(wheels)]
    subprocess.run([*pip, str(ROOT), "hatchling"], check=True)
    settings = directory / "pip.conf"
    settings.write_text("[global]\nno-index = true\nfind-links = /wheels\n")
    return [f"--volume={wheels}:/wheels:ro", f"--volume={settings}:/etc/pip.conf:ro"]


def fetch(url: str, server: subprocess.Popen[bytes]) -> bytes:
    """What a server that is starting gives."""
    deadline = time.monotonic() + 120
    while True:
        try:
            with urllib.request.urlopen(url, timeout=60) as answer:
                return bytes(answer.read())
        except OSError:
            assert server.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.2)
