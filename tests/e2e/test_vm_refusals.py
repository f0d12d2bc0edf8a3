"""What keeps a guest from starting: said at once, by name, and with nothing left behind."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
from typing import TYPE_CHECKING, Any

import pytest
from support.guests import (
    NOBODY,
    RUNNER,
    empty_root,
    run_to_end,
    settings_for,
    start_runner,
)
from support.needs import require_root, require_tool
from support.reaper import find_descendants

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.qemu

PREFIX = "services.every-channel.ipxe-qemu"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return empty_root(tmp_path / "root")


def said(settings: dict[str, Any], directory: Path, *, status: int, **more: Any) -> str:
    """What a runner says that ends with this status without having started QEMU."""
    got, runner = run_to_end(settings, directory, **more)
    text = "\n".join(runner.text)
    assert got == status, runner.report()
    assert not runner.events("QEMU started")
    assert "Traceback" not in text
    return text


@pytest.mark.parametrize("kind", ["missing", "file", "no script"])
def test_an_http_root_that_cannot_be_served(kind: str, tmp_path: Path) -> None:
    root = tmp_path / "root"
    if kind == "file":
        root.write_text("")
    elif kind == "no script":
        root.mkdir()
    text = said(settings_for(tmp_path / "state", root), tmp_path, status=2)
    assert str(root) in text
    assert f"{PREFIX}.boot.http.root" in text
    assert not (tmp_path / "state").exists()


def test_a_port_that_is_taken(tmp_path: Path, root: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        settings = settings_for(tmp_path / "state", root)
        settings["boot"]["http"]["port"] = port
        text = said(settings, tmp_path, status=1)
    assert f"127.0.0.1:{port}: cannot listen: Address already in use" in text
    assert not (tmp_path / "state").exists()


def test_two_runners_never_share_a_disk(tmp_path: Path, root: Path) -> None:
    settings = settings_for(tmp_path / "state", root)
    with start_runner(settings, tmp_path) as first:
        qemu = first.wait_guest_pid()
        text = said(settings, tmp_path, status=1)
        assert f"the disk {tmp_path}/state/disk.qcow2 is in use by another process" in text
        assert f"(pid {first.process.pid})" in text
        # Nor through another settings file with another state directory.
        other = settings_for(tmp_path / "other", root, disk={"path": str(tmp_path / "state/disk.qcow2")})
        assert "is in use by another process" in said(other, tmp_path, status=1)
        os.kill(qemu, 0)
        first.process.send_signal(signal.SIGKILL)


def test_a_disk_that_another_program_uses(tmp_path: Path, root: Path) -> None:
    """QEMU's own lock says so; it is attributed to the option."""
    disk = tmp_path / "state/disk.qcow2"
    disk.parent.mkdir()
    subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", str(disk), "1M"], check=True)
    reader = ["qemu-system-x86_64", "-machine", "none", "-nographic", "-monitor", "stdio", "-blockdev"]
    node = json.dumps(
        {"driver": "qcow2", "node-name": "d", "file": {"driver": "file", "filename": str(disk)}}
    )
    with subprocess.Popen(
        [*reader, node], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    ) as holder:
        assert holder.stdout is not None
        assert holder.stdout.read(4) == b"QEMU"
        status, runner = run_to_end(settings_for(tmp_path / "state", root), tmp_path)
        holder.kill()
    assert status == 2
    assert f"{PREFIX}.disk.path: QEMU says: " in "\n".join(runner.text)


def test_a_disk_is_never_overwritten(tmp_path: Path, root: Path) -> None:
    disk = tmp_path / "state/disk.qcow2"
    disk.parent.mkdir()
    disk.write_bytes(b"somebody's raw image")
    text = said(settings_for(tmp_path / "state", root), tmp_path, status=2)
    assert f"{disk}: not a qcow2 image; it is left as it is" in text
    assert disk.read_bytes() == b"somebody's raw image"
    disk.unlink()
    disk.symlink_to(tmp_path / "nowhere")
    assert "is a symbolic link" in said(settings_for(tmp_path / "state", root), tmp_path, status=1)
    assert not (tmp_path / "nowhere").exists()


def test_an_existing_disk_stays_the_same(tmp_path: Path, root: Path) -> None:
    disk = tmp_path / "state/disk.qcow2"
    disk.parent.mkdir()
    subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", str(disk), "3M"], check=True)
    (disk.parent / ".disk.qcow2.new-leftover").write_text("a runner was killed here")
    before = disk.read_bytes()
    with start_runner(settings_for(tmp_path / "state", root), tmp_path) as runner:
        runner.wait_guest_pid()
        assert disk.read_bytes() == before
    assert not runner.events("disk made")
    assert sorted(entry.name for entry in disk.parent.iterdir()) == ["disk.qcow2", "disk.qcow2.lock", "tftp"]


def mounted(directory: Path, options: str, then: str = "") -> list[str]:
    """A wrapper that runs its command where ``directory`` is a tmpfs of its own; needs root."""
    require_root("mounts a file system")
    require_tool("unshare", "install util-linux")
    directory.mkdir()
    script = (
        f'mount -t tmpfs -o {options},mode=755,uid={NOBODY},gid={NOBODY} ec-test "$0" {then} && exec "$@"'
    )
    return ["unshare", "--mount", "sh", "-c", script, str(directory)]


def test_a_disk_directory_that_is_read_only(tmp_path: Path, root: Path) -> None:
    wrapper = mounted(tmp_path / "disks", "ro,size=1m")
    settings = settings_for(tmp_path / "state", root, disk={"path": str(tmp_path / "disks/disk.qcow2")})
    text = said(settings, tmp_path, status=1, wrapper=wrapper)
    assert f"{tmp_path}/disks: the disk's directory cannot be written" in text
    assert f"{PREFIX}.disk.path" in text


@pytest.mark.parametrize("free", ["64k", "8k"])
def test_a_full_disk(free: str, tmp_path: Path, root: Path) -> None:
    wrapper = mounted(tmp_path / "disks", f"size={free}")
    listing = tmp_path / "left"
    # What is left is seen from inside the mount's namespace, once the runner has ended.
    wrapper[4] = wrapper[4].replace('exec "$@"', f'{{ "$@"; s=$?; ls -A "$0" >"{listing}"; exit $s; }}')
    path = tmp_path / "disks/disk.qcow2"
    settings = settings_for(tmp_path / "state", root, disk={"path": str(path), "size": "64G"})
    text = said(settings, tmp_path, status=1, wrapper=wrapper)
    assert f"{path}: the disk cannot be made: " in text
    assert "No space left on device" in text
    assert listing.read_text().split() == ["disk.qcow2.lock"]


def test_a_program_that_is_missing(tmp_path: Path, root: Path) -> None:
    text = said(settings_for(tmp_path / "state", root), tmp_path, status=1, env={"PATH": str(tmp_path)})
    assert "qemu-system-x86_64: program not found" in text
    assert "install QEMU" in text


REFUSED_BY_QEMU: list[tuple[str, dict[str, Any]]] = [
    ("machine", {"machine": "no-such-machine"}),
    ("machine", {"machine": "q35,no-such-property=1"}),
    ("cpu", {"cpu": "no-such-cpu"}),
    ("cpu", {"cpu": "max,no-such-feature=on"}),
    ("vcpus", {"vcpus": 300, "machine": "pc"}),
    ("memoryMiB", {"memoryMiB": 2**31}),
    ("serial", {"serial": "no-such-device"}),
    ("serial", {"serial": "unix:/nonexistent/socket,server=on,wait=off"}),
    ("boot.order", {"boot": {"order": "order=n,no-such-key=1"}}),
    ("boot.userNet.model", {"boot": {"userNet": {"model": "no-such-nic"}}}),
    ("boot.userNet.model", {"boot": {"userNet": {"model": "e1000,no-such-property=1"}}}),
    ("extraArgs", {"extraArgs": ["-no-such-argument"]}),
    ("extraArgs", {"extraArgs": ["-device", "no-such-device"]}),
]


@pytest.mark.parametrize(
    ("option", "change"), REFUSED_BY_QEMU, ids=[str(change) for _, change in REFUSED_BY_QEMU]
)
def test_what_only_qemu_can_refuse_is_named_as_the_option(
    option: str, change: dict[str, Any], tmp_path: Path
) -> None:
    boot = {"http": {"enable": False}, **change.get("boot", {})}
    settings = settings_for(tmp_path / "state", None, **{**change, "boot": boot})
    status, runner = run_to_end(settings, tmp_path)
    text = "\n".join(runner.text)
    assert status == 2, runner.report()
    assert f"{PREFIX}.{option}: QEMU says: " in text
    assert "expected: " in text
    assert not find_descendants(runner.process.pid)


def test_a_usage_error_has_the_status_of_one() -> None:
    done = subprocess.run(
        [*RUNNER, "--check", "--print-boot-script"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    assert "exclude each other" in done.stderr
