"""How a guest ends: asked, told, killed; and what the runner says of it."""

from __future__ import annotations

import json
import os
import pty
import select
import signal
import subprocess
import termios
import time
from typing import TYPE_CHECKING

import pytest
from support.guests import (
    BOOT_SECONDS,
    RUNNER,
    ServiceManager,
    argv_of,
    empty_root,
    is_alive,
    open_to_guest,
    settings_for,
    stage,
    start_runner,
    wait_until,
)
from support.reaper import find_descendants

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.qemu


def times(powerdown: int, quit_: int, terminate: int) -> dict[str, int]:
    return {"powerdownSeconds": powerdown, "quitSeconds": quit_, "terminateSeconds": terminate}


def test_sigterm_with_a_guest_that_powers_down(tmp_path: Path) -> None:
    root = stage(tmp_path / "root", cmdline="ec.mark=polite")
    with start_runner(settings_for(tmp_path / "state", root), tmp_path) as runner:
        qemu = runner.wait_guest_pid()
        runner.wait_up("polite")
        runner.terminate()
        assert runner.wait() == 0
    (end,) = runner.events("the guest has ended")
    assert end["how"] == "asked the guest to power itself down"
    assert not is_alive(qemu)


def test_sigterm_with_a_guest_that_refuses(tmp_path: Path) -> None:
    root = stage(tmp_path / "root", cmdline="ec.mark=deaf ec.ignore-acpi")
    settings = settings_for(tmp_path / "state", root, shutdown=times(3, 60, 60))
    with start_runner(settings, tmp_path) as runner:
        runner.wait_up("deaf")
        runner.terminate()
        assert runner.wait() == 0
    (end,) = runner.events("the guest has ended")
    assert end["how"] == "told QEMU to quit"
    assert end["level"] == "warning"


def test_a_second_signal_goes_to_the_next_step_at_once(tmp_path: Path) -> None:
    """The guest is in its firmware, which does not hear the power button."""
    settings = settings_for(
        tmp_path / "state", empty_root(tmp_path / "root"), shutdown=times(3600, 3600, 3600)
    )
    with start_runner(settings, tmp_path) as runner:
        runner.wait_guest_pid()
        runner.process.send_signal(signal.SIGINT)
        runner.wait_event("asked the guest to power itself down")
        runner.terminate()
        assert runner.wait() == 0
    assert runner.events("the guest has ended")[0]["how"] == "told QEMU to quit"


def test_a_qemu_that_hangs_is_killed_and_the_watchdog_not_fed_meanwhile(tmp_path: Path) -> None:
    manager = ServiceManager(tmp_path / "notify")
    settings = settings_for(tmp_path / "state", empty_root(tmp_path / "root"), shutdown=times(1, 1, 1))
    env = {"NOTIFY_SOCKET": manager.address, "WATCHDOG_USEC": "200000"}
    with start_runner(settings, tmp_path, env=env) as runner:
        qemu = runner.wait_guest_pid()
        wait_until(lambda: manager.count("WATCHDOG=1") >= 3, "the watchdog is fed")
        os.kill(qemu, signal.SIGSTOP)
        # What was on its way may still arrive; then there is silence for many times the interval.
        time.sleep(0.5)
        before = manager.count("WATCHDOG=1")
        time.sleep(1.5)
        assert manager.count("WATCHDOG=1") == before
        runner.terminate()
        assert runner.wait() == 0
    assert [entry["event"] for entry in runner.entries if "QEMU" in entry["event"]][-3:] == [
        "told QEMU to quit",
        "sent QEMU SIGTERM",
        "sent QEMU SIGKILL",
    ]
    assert manager.count("STOPPING=1") == 1
    assert not is_alive(qemu)
    manager.close()


def test_a_qemu_that_is_killed_is_a_failure_with_its_last_words(tmp_path: Path) -> None:
    with start_runner(settings_for(tmp_path / "state", empty_root(tmp_path / "root")), tmp_path) as runner:
        os.kill(runner.wait_guest_pid(), signal.SIGKILL)
        assert runner.wait() == 1
    assert "QEMU ended: killed by SIGKILL" in runner.text[0]


def test_a_qemu_that_somebody_else_terminates_is_a_failure(tmp_path: Path) -> None:
    """QEMU exits with status 0 on SIGTERM: that is no power-off."""
    with start_runner(settings_for(tmp_path / "state", empty_root(tmp_path / "root")), tmp_path) as runner:
        os.kill(runner.wait_guest_pid(), signal.SIGTERM)
        assert runner.wait() == 1
    assert "exit status 0, reason host-signal" in runner.text[0]
    assert "terminating on signal 15" in "\n".join(runner.text)


def test_a_signal_during_the_preparation_leaves_nothing(tmp_path: Path) -> None:
    """qemu-img is slow here: a program of that name that waits to be killed."""
    programs = tmp_path / "bin"
    programs.mkdir()
    (programs / "qemu-img").write_text("#!/bin/sh\nexec sleep 3600\n")
    (programs / "qemu-img").chmod(0o755)
    state = tmp_path / "state"
    settings = settings_for(state, empty_root(tmp_path / "root"))
    with start_runner(settings, tmp_path, env={"PATH": f"{programs}:{os.environ['PATH']}"}) as runner:
        pid = runner.process.pid
        wait_until(lambda: any("3600" in argv_of(child) for child in find_descendants(pid)), "qemu-img runs")
        started = find_descendants(pid)
        runner.terminate()
        assert runner.wait() == 0
    assert [entry.name for entry in state.iterdir()] == ["disk.qcow2.lock"]
    assert not any(map(is_alive, started))


@pytest.mark.parametrize("moment", ["disk made", "boot HTTP server is ready", "QEMU started"])
def test_a_signal_while_it_starts_ends_it_in_order(moment: str, tmp_path: Path) -> None:
    settings = settings_for(tmp_path / "state", empty_root(tmp_path / "root"), shutdown=times(0, 60, 60))
    with start_runner(settings, tmp_path) as runner:
        runner.wait_event(moment)
        started = find_descendants(runner.process.pid)
        runner.terminate()
        assert runner.wait() == 0
    assert not any(map(is_alive, started))
    assert not runner.text


def test_on_a_terminal_the_console_is_the_terminal(tmp_path: Path) -> None:
    """Ctrl-A x, QEMU's own key to quit, reaches it; the terminal is as before afterwards."""
    settings = settings_for(tmp_path / "state", empty_root(tmp_path / "root"))
    open_to_guest(settings, tmp_path)
    config = tmp_path / "settings.json"
    config.write_text(json.dumps(settings))
    ours, theirs = pty.openpty()
    before = termios.tcgetattr(theirs)
    child = subprocess.Popen(
        [*RUNNER, "--config", str(config)],
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        start_new_session=True,
    )
    shown = b""
    try:
        deadline = time.monotonic() + BOOT_SECONDS
        while b"SeaBIOS" not in shown:
            assert select.select([ours], [], [], max(0, deadline - time.monotonic()))[0], shown
            shown += os.read(ours, 65536)
        assert b'"event"' not in shown  # lines for people
        os.write(ours, b"\x01x")
        wait_until(lambda: child.poll() is not None or not drain(ours), "the runner ends", seconds=120)
        assert child.wait(60) == 0
        assert termios.tcgetattr(theirs) == before
    finally:
        if child.poll() is None:
            child.kill()
            child.wait()
        os.close(ours)
        os.close(theirs)


def drain(descriptor: int) -> bool:
    """Read what a terminal shows, so that nobody waits to write to it; always true."""
    if select.select([descriptor], [], [], 0)[0]:
        os.read(descriptor, 65536)
    return True
