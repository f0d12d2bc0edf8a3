"""A node that follows, on a real systemd: the built unit starts units, and has the machine reboot."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from support.machine_image import find_image
from support.machine_nspawn import run_container
from support.systems import Systems
from support.unit_files import IN_CONTAINER

pytestmark = [pytest.mark.nix]

UNIT = "every-channel-follow.service"
PORT = 8099
TOKEN = "t0ken_of-the-boot-0123456789abcd"
_SERVER = """\
import http.server

class Answers(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        with open("/run/asked", "a") as asked:
            asked.write(self.path.partition("boot=")[0] + self.path.partition("&")[2] + "\\n")
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b"node=n\\ngroup=g\\nslots=1\\nstate=healthy\\nboot=network\\nruns=a\\nrelease=b\\n")

    do_POST = do_GET

http.server.HTTPServer(("127.0.0.1", 8099), Answers).serve_forever()
"""
_SERVER_UNIT = """\
[Unit]
Description=A boot server
[Service]
ExecStart=/usr/bin/python3 /etc/answers.py
"""
_DRAIN = """\
[Unit]
Description=What goes before
[Service]
Type=oneshot
ExecStart=/usr/bin/touch /run/drained
"""
# What is left of a reboot in a container that is to be looked at afterwards: who asked for it may.
_REBOOT = """\
[Unit]
Description=The reboot
AllowIsolate=yes
Requires=rebooted.service
After=rebooted.service
"""
_REBOOTED = """\
[Unit]
Description=What tells of it
DefaultDependencies=no
[Service]
Type=oneshot
ExecStart=/usr/bin/touch /run/rebooted
"""


def test_it_asks_starts_what_goes_before_and_reboots(systems: Systems, tmp_path: Path) -> None:
    follow = {"enable": True, "everySeconds": 5, "beforeReboot": ["drain.service"]}
    config = {"services": {"every-channel": {"runner": {"enable": True, "follow": follow}}}}
    built = systems.build("followUnit", config) / UNIT
    (script,) = set(re.findall(r"ExecStart=(/nix/store/\S+)", built.read_text()))
    report = f"every_channel.report=http://127.0.0.1:{PORT}/report?boot={TOKEN}"
    files = {
        f"systemd/system/{UNIT}.d/container.conf": IN_CONTAINER.format(script=script),
        "systemd/system/answers.service": _SERVER_UNIT,
        "systemd/system/drain.service": _DRAIN,
        "systemd/system/reboot.target": _REBOOT,
        "systemd/system/rebooted.service": _REBOOTED,
        "answers.py": _SERVER,
        "cmdline": f"BOOT_IMAGE=kernel {report}\n",
    }
    binds = [f"--bind-ro={built}:/etc/systemd/system/{UNIT}"]
    for number, (name, text) in enumerate(files.items()):
        (tmp_path / str(number)).write_text(text)
        binds.append(f"--bind-ro={tmp_path / str(number)}:/etc/{name}")
    container = [
        *("--boot", "--volatile=overlay", "-D", str(find_image().tree), "--bind-ro=/nix/store", *binds),
        *("systemd.unit=multi-user.target", "systemd.wants=answers.service", f"systemd.wants={UNIT}", report),
    ]
    with run_container(container, tmp_path / "console") as machine:

        def has_rebooted() -> bool:
            return machine.execute(["test", "-e", "/run/rebooted"]).status == 0

        machine.wait(has_rebooted, "the reboot", unit=UNIT)
        assert machine.execute(["test", "-e", "/run/drained"]).status == 0
        asked = machine.run("cat", "/run/asked").splitlines()
        first = asked[asked.index("/v1/pre-reboot") :]
        assert first[:2] == ["/v1/pre-reboot", "/assignment?take=yes"]
        assert asked[0] == "/assignment?"
        said = machine.journal(UNIT)
        assert "boots again: a is followed by b" in said
        assert TOKEN not in said
