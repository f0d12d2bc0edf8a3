"""A guest boots over iPXE to the mark that its own init prints."""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import parse_qs, urlsplit

import pytest
from support.guests import (
    NOBODY,
    ServiceManager,
    argv_of,
    empty_root,
    is_alive,
    process_status,
    run_to_end,
    settings_for,
    stage,
    start_runner,
    unprivileged,
    wait_until,
)
from support.reaper import find_descendants
from support.recording_http import RecordingServer

from ectools.capabilities import Capability
from ectools.demo.payload import Flavour

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = [pytest.mark.qemu]


@pytest.fixture
def manager(tmp_path: Path) -> Iterator[ServiceManager]:
    manager = ServiceManager(tmp_path / "notify")
    yield manager
    manager.close()


def test_a_guest_boots_and_powers_itself_off(tmp_path: Path, manager: ServiceManager) -> None:
    """The main path, in a state directory whose name has what option strings and shells trip over."""
    root = stage(tmp_path / "root", cmdline="ec.mark=one ec.poweroff")
    state = tmp_path / "st, te=ä'"
    settings = settings_for(state, root, name="a,b=c d")
    with start_runner(settings, tmp_path, env={"NOTIFY_SOCKET": manager.address}) as runner:
        qemu = runner.wait_guest_pid()
        inside = argv_of(qemu)
        runner.wait_up("one eth0=10.0.2.15")
        assert runner.wait() == 0
    assert runner.events("the guest powered itself off")
    # Its CPUs stop a moment before QEMU ends: that is no pause, and no silence.
    assert not {"the guest is paused", "QEMU does not answer"} & {entry["event"] for entry in runner.entries}
    assert runner.requests() == ["/netboot.ipxe", "/kernel", "/initrd"]
    assert inside[0].endswith("qemu-system-x86_64")
    assert "guest=a,,b=c d" in inside
    assert {entry.name for entry in (state / "tftp").iterdir()} == {"undionly.kpxe", ".undionly.kpxe.lock"}
    assert stat.S_IMODE((state / "disk.qcow2").stat().st_mode) == 0o600
    # The server was up before QEMU was started, and QEMU said "running" before the manager heard of it.
    names = [entry["event"] for entry in runner.entries]
    assert names.index("boot HTTP server is ready") < names.index("QEMU started")
    assert manager.count("READY=1") == 1
    assert not is_alive(qemu)


def test_the_default_nic_and_a_given_boot_file(tmp_path: Path) -> None:
    """e1000 with the generic kernel, and a boot file that the runner only copies."""
    root = stage(tmp_path / "root", cmdline="ec.mark=e1000 ec.poweroff", flavour=Flavour.GENERIC)
    server = RecordingServer(root)
    boot_file = tmp_path / "custom.ipxe"
    boot_file.write_text(f"#!ipxe\ndhcp\nchain http://10.0.2.2:{server.port}/netboot.ipxe?custom\n")
    boot = {
        "http": {"enable": False},
        "userNet": {"bootFile": str(boot_file), "bootFilename": "own,name.kpxe", "model": "e1000"},
    }
    with server, start_runner(settings_for(tmp_path / "state", None, boot=boot), tmp_path) as runner:
        runner.wait_up("e1000 eth0=10.0.2.15")
        assert runner.wait() == 0
    assert server.targets[0] == "/netboot.ipxe?custom"
    assert (tmp_path / "state/tftp/own,name.kpxe").read_bytes() == boot_file.read_bytes()


def test_a_chain_url_elsewhere_gets_the_token_and_nobody_else_sees_it(tmp_path: Path) -> None:
    token = "t0ken._~/=:@-"
    root = stage(tmp_path / "root", cmdline="ec.mark=elsewhere ec.poweroff")
    (tmp_path / "token").write_text(f"{token}\n")
    with RecordingServer(root) as server:
        boot = {
            "http": {"enable": False},
            "chainUrl": f"http://10.0.2.2:{server.port}/netboot.ipxe?site=a",
            "chainTokenFile": str(tmp_path / "token"),
            "userNet": {"model": "virtio-net-pci"},
        }
        settings = settings_for(tmp_path / "state", None, boot=boot)
        with start_runner(settings, tmp_path) as runner:
            qemu = runner.wait_guest_pid()
            script = tmp_path / "state/tftp/undionly.kpxe"
            assert stat.S_IMODE(script.stat().st_mode) == 0o600
            assert not any(
                "t0ken" in word for pid in find_descendants(runner.process.pid) for word in argv_of(pid)
            )
            assert "t0ken" not in Path(f"/proc/{qemu}/environ").read_text()
            runner.wait_up("elsewhere")
            assert runner.wait() == 0
    asked = urlsplit(server.targets[0])
    assert asked.path == "/netboot.ipxe"
    assert parse_qs(asked.query) == {"site": ["a"], "token": [token]}
    assert not any("t0ken" in line for line in runner.lines)
    assert not script.exists()


def test_the_token_comes_from_the_service_managers_credential(tmp_path: Path) -> None:
    credentials = tmp_path / "credentials"
    credentials.mkdir()
    (credentials / "chain-token").write_text("from-credential")
    boot = {
        "http": {"enable": False},
        "chainUrl": "http://10.0.2.2:9/x",
        "chainTokenFile": "/nonexistent/token",
        "userNet": {"model": "virtio-net-pci"},
    }
    settings = settings_for(tmp_path / "state", None, boot=boot)
    with start_runner(settings, tmp_path, env={"CREDENTIALS_DIRECTORY": str(credentials)}) as runner:
        runner.wait_guest_pid()
        assert "token=from-credential" in (tmp_path / "state/tftp/undionly.kpxe").read_text()
    status, failed = run_to_end(settings, tmp_path)
    assert status == 2
    assert "/nonexistent/token" in failed.text[0]


def test_a_truncated_kernel_is_refused_and_a_missing_one_reported(tmp_path: Path) -> None:
    root = stage(tmp_path / "root")
    half = (root / "kernel").read_bytes()[:5_000_000]
    (root / "kernel").unlink()
    (root / "kernel").write_bytes(half)
    times = {"powerdownSeconds": 1, "quitSeconds": 60, "terminateSeconds": 60}
    settings = settings_for(tmp_path / "state", root, shutdown=times)
    status, failed = run_to_end(settings, tmp_path)
    assert status == 2
    assert "kernel: cut off: it has 5000000 bytes" in failed.text[0]
    assert not (tmp_path / "state").exists()
    (root / "kernel").unlink()
    with start_runner(settings, tmp_path) as runner:
        runner.wait_event("the guest did not boot from the network; its iPXE waits in a shell")
        # It tried again, a bounded number of times.
        assert runner.requests().count("/netboot.ipxe") == 5
        runner.terminate()
        assert runner.wait() == 0
    assert runner.events("the guest has ended")[0]["how"] == "told QEMU to quit"


def test_a_boot_http_server_that_is_killed_during_the_initrd_is_replaced(tmp_path: Path) -> None:
    root = stage(tmp_path / "root", cmdline="ec.mark=again ec.poweroff")
    # Zeros after an archive are padding; they make the download last.
    with (root / "initrd.big").open("wb") as big:
        big.write((root / "initrd").read_bytes())
        big.truncate(96 << 20)
    os.replace(root / "initrd.big", root / "initrd")
    with start_runner(settings_for(tmp_path / "state", root, memoryMiB=512), tmp_path) as runner:
        runner.wait_event("request", path="/kernel")
        (server,) = [pid for pid in find_descendants(runner.process.pid) if "netboot" in argv_of(pid)]
        os.kill(server, 9)
        runner.wait_event("the boot HTTP server died; it is started again", how="killed by SIGKILL")
        runner.wait_up("again")
        assert runner.wait() == 0
    assert "/initrd" not in runner.requests()[: runner.requests().index("/kernel") + 1]
    assert runner.requests().count("/initrd") == 1


def test_children_have_none_of_the_runners_capabilities(tmp_path: Path) -> None:
    """As under the unit: an unprivileged user with ambient capabilities."""
    user = unprivileged(tmp_path, capabilities="+net_admin,+dac_override")
    root = empty_root(tmp_path / "root")
    with start_runner(settings_for(tmp_path / "state", root), tmp_path, wrapper=user) as runner:
        qemu = runner.wait_guest_pid()
        # Without a LAN, the runner has no use for them.
        assert int(process_status(runner.process.pid)["CapEff"], 16) == 0
        started = find_descendants(runner.process.pid)
        assert qemu in started
        assert len(started) == 2
        for pid in started:
            status = process_status(pid)
            # What an interpreter below /root takes (limit_to_user) the boot HTTP server has, out of force.
            permitted = 0 if pid == qemu else 1 << Capability.DAC_READ_SEARCH
            assert int(status["CapPrm"], 16) in {0, permitted}, argv_of(pid)
            assert [int(status[name], 16) for name in ("CapEff", "CapAmb")] == [0, 0], argv_of(pid)
            assert status["NoNewPrivs"] == "1"
            assert "NOTIFY_SOCKET" not in Path(f"/proc/{pid}/environ").read_text()
        assert process_status(qemu)["Seccomp"] == "2"


def test_what_a_runner_that_was_killed_leaves_is_dead_and_in_nobodys_way(tmp_path: Path) -> None:
    root = empty_root(tmp_path / "root")
    settings = settings_for(tmp_path / "state", root)
    with start_runner(settings, tmp_path) as runner:
        runner.wait_guest_pid()
        started = find_descendants(runner.process.pid)
        assert len(started) == 2
        if os.geteuid() == 0:
            assert {process_status(pid)["Uid"].split()[1] for pid in started} == {str(NOBODY)}
            assert {int(process_status(pid)["CapEff"], 16) for pid in started} == {0}
        runner.process.kill()
        wait_until(lambda: not any(map(is_alive, started)), "the children end with the runner")
    with start_runner(settings, tmp_path) as second:
        second.wait_guest_pid()
