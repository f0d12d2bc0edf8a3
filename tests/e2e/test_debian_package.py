"""The Debian package, built, and installed on a Debian that boots: it serves, and goes."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from support.needs import require_tool
from support.service_host import UNIT, boot_service_host, list_ours

pytestmark = [pytest.mark.full, pytest.mark.timeout(1800)]

BUILD = Path(__file__).parents[2] / "packaging/build_deb.py"


def test_installed_it_serves_and_removed_it_leaves_nothing(tmp_path: Path) -> None:
    require_tool("dpkg-deb", "the package is Debian's")
    done = subprocess.run(
        [sys.executable, str(BUILD), str(tmp_path / "dist")], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    package = Path(done.stdout.strip())
    with boot_service_host(tmp_path, has_product=False) as host:
        shutil.copyfile(package, host.tree / "ectools.deb")
        machine = host.machine
        # Not the checkout's: the machine's Python finds that elsewhere.
        machine.run("rm", "/usr/lib/python3/dist-packages/machine.pth")
        before = machine.shell("find / -xdev -path '*ectools*' ! -path '/ectools.deb' ! -path '/proc/*'")
        machine.run("dpkg", "--install", "/ectools.deb")
        assert "ectools, version" in machine.run("ectools", "--version")
        assert machine.run("readlink", "-f", "/usr/lib/ectools/bin/python3").startswith("/usr/bin/python3")
        host.ectools("service", "install", "netboot", "--config", "/etc/host.toml")
        host.wait_serving()
        assert "ExecStart=/usr/bin/ectools netboot serve" in machine.run("systemctl", "cat", UNIT)
        host.boot()
        host.wait_serving()
        host.ectools("service", "remove", "netboot")
        assert list_ours(host.machine) == []
        host.machine.run("dpkg", "--purge", "ectools")
        find = "find / -xdev -path '*ectools*' ! -path '/ectools.deb' ! -path '/proc/*' ! -path '/var/log/*'"
        assert host.machine.shell(find) == before
