"""The shell that firmware brings into a system: its script, run by a bash here, on a terminal for a port."""

from __future__ import annotations

import contextlib
import os
import pty
import socket
import subprocess
import threading
from typing import TYPE_CHECKING

from support.needs import require_tool
from support.nixos_agent import PORT, SCRIPT, build_agent_arguments
from support.nixos_machine import NixosMachine

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@contextlib.contextmanager
def run_agent(directory: Path) -> Iterator[NixosMachine]:
    """The agent's script, and the machine that speaks with it through a socket, as through QEMU's."""
    require_tool("bash", "install bash")
    control, terminal = pty.openpty()
    script = SCRIPT.replace(PORT, os.ttyname(terminal)).replace("/run/ec-agent", str(directory / "ec-agent"))
    here, there = socket.socketpair()
    for name in ("console", "qemu.log"):
        (directory / name).touch()
    process = subprocess.Popen(["bash", "-c", script], start_new_session=True)

    def pump(source: int, target: int) -> None:
        with contextlib.suppress(OSError):
            while data := os.read(source, 65536):
                os.write(target, data)

    threads = [
        threading.Thread(target=pump, args=pair, daemon=True)
        for pair in ((control, there.fileno()), (there.fileno(), control))
    ]
    with here, there:
        for thread in threads:
            thread.start()
        try:
            yield NixosMachine(process, here, directory)
        finally:
            process.kill()
            process.wait()
            here.close()
            os.close(terminal)
            for thread in threads:
                thread.join()
            os.close(control)


def test_status_and_both_streams_come_back_whole(tmp_path: Path) -> None:
    with run_agent(tmp_path) as machine:
        machine.wait_hello()
        given = "ä\n" * 1000
        done = machine.execute(["sh", "-c", "cat; echo error >&2; exit 3"], stdin=given)
        assert (done.status, done.stdout, done.stderr) == (3, given, "error\n")
        long = "".join(f"{number}\n" for number in range(1, 50_001))
        assert machine.run("seq", "50000") == long
        assert machine.execute(["true"]).stdout == ""
        words = ["a b", "", "'", '"', "$x", "\\", "\n"]
        assert machine.run("printf", "%s|", *words) == "".join(f"{word}|" for word in words)
        assert machine.execute(["no-such-program"]).status == 127


def test_the_units_come_in_strings_of_the_firmware(tmp_path: Path) -> None:
    words = build_agent_arguments(tmp_path / "agent")
    strings = words[words.index("-smbios") + 1].split(",")
    assert strings[0] == "type=11"
    names = {
        each.removeprefix("value=io.systemd.credential.binary:").partition("=")[0] for each in strings[1:]
    }
    assert {"systemd.extra-unit.ec-agent.service", "sysctl.extra"} <= names
    assert all(name.startswith(("systemd.", "sysctl.")) for name in names), (
        "another string, or a comma in one"
    )
