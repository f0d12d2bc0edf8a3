"""The demo of a network, as a user runs it: by root and without; it leaves nothing, however it ends."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from support.boot_binaries import copy_ovmf, find_ipxe
from support.guests import NOBODY, find_processes, open_way, wait_until
from support.needs import give_up, require_root, require_tool

from ectools.demo.netboot.boot_stages import NetbootStage
from ectools.demo.payload import build_payload

pytestmark = [pytest.mark.qemu, pytest.mark.netns]

BOOT_SECONDS = 280
DEMO = ["-m", "ectools.cli.main", "demo", "netboot"]
AS_NOBODY = ("setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups", "--")


@pytest.fixture(autouse=True)
def _tools(tmp_path: Path) -> None:
    require_root("makes network namespaces")
    require_tool("qemu-system-x86_64", "install qemu-system-x86")
    require_tool("dnsmasq", "install dnsmasq (Debian: dnsmasq-base)")
    (tmp_path / "ovmf").mkdir()
    copy_ovmf(tmp_path / "ovmf")
    shutil.rmtree(tmp_path / "ovmf")
    find_ipxe("trixie")
    if not Path("/dev/net/tun").exists():
        give_up("there is no /dev/net/tun")


def start(
    directory: Path, *arguments: str, wrapper: tuple[str, ...] = (), python: str = sys.executable
) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [*wrapper, python, *DEMO, *arguments],
        cwd=directory,
        env={**os.environ, "TMPDIR": str(directory), "PYTHONPATH": os.pathsep.join(sys.path)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def find_python_of_nobody() -> str:
    """A Python that has our modules and that is not below /root, where nobody gets to."""
    there = [sys.executable, *filter(None, [shutil.which("python3", path="/usr/bin")])]
    found = next(filter(_has_our_modules, there), None)
    if found is None:
        give_up(f"another user cannot run {sys.executable}")
    return found


def _has_our_modules(python: str) -> bool:
    done = subprocess.run(
        # By way of env: setpriv itself still has root's rights when it starts a program.
        [*AS_NOBODY, "env", python, "-c", "import ectools.cli.main, aiohttp, cryptography"],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        stderr=subprocess.DEVNULL,
        check=False,
    )
    return done.returncode == 0


def expect_boot(demo: subprocess.Popen[str]) -> None:
    out, err = demo.communicate(timeout=BOOT_SECONDS + 120)
    assert demo.returncode == 0, err
    result = json.loads(out)
    assert result["verdict"] == "boots"
    assert set(result["stages"]) == {stage.name.lower() for stage in NetbootStage}
    times = list(result["stages"].values())
    assert times == sorted(times)
    assert result["address"].startswith("192.168.77.1")
    assert err.index("✓ x64 UEFI: boots") < err.index(f"✓ {NetbootStage.DISCOVER}")


def test_a_machine_boots_and_nothing_is_left(tmp_path: Path) -> None:
    named = set(Path("/run/netns").iterdir()) if Path("/run/netns").exists() else set()
    expect_boot(start(tmp_path, "--json", "--timeout", str(BOOT_SECONDS)))
    assert list(tmp_path.iterdir()) == []
    assert find_processes(str(tmp_path)) == []
    now = set(Path("/run/netns").iterdir()) if Path("/run/netns").exists() else set()
    assert not [path for path in now - named if path.name.endswith("-demo")]


@pytest.mark.full
def test_a_user_who_may_make_namespaces_needs_no_root(tmp_path: Path) -> None:
    """In a mount namespace whose /dev/net/tun is open to everybody, as a desktop's is."""
    python = find_python_of_nobody()
    open_way(tmp_path)
    payload, ipxe, work = build_payload(), tmp_path / "ipxe.efi", tmp_path / "work"
    (tmp_path / "payload").mkdir()
    for file in (payload.kernel, payload.initrd):
        shutil.copyfile(file, tmp_path / "payload" / file.name)
    shutil.copyfile(find_ipxe("trixie") / "usr/lib/ipxe/ipxe-amd64.efi", ipxe)
    work.mkdir()
    os.chown(work, NOBODY, NOBODY)
    tun = tmp_path / "tun"
    script = f'mknod {tun} c 10 200 && chmod 666 {tun} && mount --bind {tun} /dev/net/tun && exec "$@"'
    wrapper = ("unshare", "--mount", "sh", "-c", script, "sh", *AS_NOBODY)
    flags = ("--payload", str(tmp_path / "payload"), "--ipxe", str(ipxe), "--timeout", str(BOOT_SECONDS))
    expect_boot(start(work, "--json", *flags, wrapper=wrapper, python=python))
    assert list(work.iterdir()) == []
    assert find_processes(str(work)) == []


def test_a_demo_that_is_killed_takes_all_with_it(tmp_path: Path) -> None:
    demo = start(tmp_path)

    def runs() -> bool:
        assert demo.poll() is None
        return any("qemu-system" in line for line in find_processes(str(tmp_path)))

    wait_until(runs, "the machine runs", seconds=BOOT_SECONDS)
    demo.send_signal(signal.SIGKILL)
    demo.communicate(timeout=BOOT_SECONDS)
    wait_until(lambda: find_processes(str(tmp_path)) == [], "router, boot server and machine have ended")


def test_a_machine_that_is_not_up_in_time_is_a_failure_that_leaves_nothing(tmp_path: Path) -> None:
    demo = start(tmp_path, "--timeout", "1")
    out, err = demo.communicate(timeout=BOOT_SECONDS)
    assert (demo.returncode, out) == (1, ""), err
    assert "the machine did not come up: 1 s went by" in err
    assert list(tmp_path.iterdir()) == []
    assert find_processes(str(tmp_path)) == []


def test_what_a_user_lacks_is_said_before_anything_starts(tmp_path: Path) -> None:
    python = find_python_of_nobody()
    open_way(tmp_path)
    work = tmp_path / "work"
    work.mkdir()
    os.chown(work, NOBODY, NOBODY)
    (tmp_path / "tun").touch(mode=0o600)
    closed = ("unshare", "--mount", "sh", "-c", 'mount --bind "$0" /dev/net/tun && exec "$@"')
    demo = start(work, wrapper=(*closed, str(tmp_path / "tun"), *AS_NOBODY), python=python)
    out, err = demo.communicate(timeout=60)
    assert (demo.returncode, out) == (1, "")
    assert "/dev/net/tun: cannot be opened: Permission denied" in err
    assert list(work.iterdir()) == []
