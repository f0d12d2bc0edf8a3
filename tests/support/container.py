"""This machine's own system, booted by systemd in a container, with what it writes thrown away at the end."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import sysconfig
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from support.needs import give_up, require_tool

from ectools.processes import ProcessError, run

BOOT_SECONDS = 60
_PYTHON = Path("/usr/bin/python3")
_PACKAGES = "/opt/site-packages"


@dataclass(frozen=True)
class Container:
    """A booted container; ``run`` enters all of its namespaces."""

    leader: int

    def run(self, *argv: str, stdin: str | None = None, check: bool = True) -> str:
        """Standard output of a command inside; its failure is the test's where ``check`` is set."""
        done = subprocess.run(
            ["nsenter", "--target", str(self.leader), "--all", "--", *argv],
            input=stdin,
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )
        assert not check or done.returncode == 0, f"{argv}: {done.returncode}\n{done.stdout}\n{done.stderr}"
        return done.stdout

    def show(self, unit: str, *properties: str) -> dict[str, str]:
        """Properties of a unit by name."""
        lines = self.run("systemctl", "show", "-p", ",".join(properties), unit).splitlines()
        return dict(line.split("=", 1) for line in lines)


def find_packages() -> dict[Path, str]:
    """This environment's packages, and where a service in a container finds them.

    Only where the system's Python, the one that a unit can see, is of the version that the tests run with.
    """
    try:
        version = run([str(_PYTHON), "-c", "import sys; print(*sys.version_info[:2])"]).stdout.split()
    except ProcessError:
        give_up(f"{_PYTHON} does not run, and a unit sees no Python below /home and /root")
    if version != [str(part) for part in sys.version_info[:2]]:
        give_up(f"{_PYTHON} is {'.'.join(version)}, and the tests run with another version")
    return {Path(sysconfig.get_path("purelib")): _PACKAGES}


def set_up_service(container: Container, unit: str, rules: Mapping[str, Any]) -> None:
    """The network, the user and the folders (``rules`` of tmpfiles) that the unit's host would have."""
    container.run("ip", "link", "set", "lo", "up")
    container.run("useradd", "--system", "--user-group", unit)
    lines = [
        f"{rule['type']} {path} {rule['mode']} {rule['user']} {rule['group']} {rule['age']}\n"
        for path, types in rules.items()
        for rule in types.values()
    ]
    container.run("systemd-tmpfiles", "--create", "-", stdin="".join(lines))
    # Only for a nixpkgs of placeholders: its Python is the machine's.
    dropin = f"[Service]\nEnvironment=PYTHONPATH={_PACKAGES}\n"
    container.run("mkdir", "-p", f"/run/systemd/system/{unit}.service.d")
    container.run("tee", f"/run/systemd/system/{unit}.service.d/python.conf", stdin=dropin)
    container.run("systemctl", "daemon-reload")


@contextlib.contextmanager
def boot_container(folder: Path, *, read_only: dict[Path, str]) -> Iterator[Container]:
    """A container of this machine's root for the length of the block; ``read_only``: path here → inside."""
    require_tool("systemd-nspawn", "install systemd-container")
    if os.geteuid() != 0:
        give_up("a container with its own systemd takes root")
    tree = folder / "tree"
    tree.mkdir()
    subprocess.run(["mount", "--bind", "/", str(tree)], check=True)
    try:
        with (folder / "console").open("wb") as console:
            process = subprocess.Popen(
                [
                    *(
                        "systemd-nspawn",
                        "--quiet",
                        "--register=no",
                        "--keep-unit",
                        "--boot",
                        "--volatile=overlay",
                    ),
                    *("--private-network", "--console=pipe", f"--machine=ec-{os.getpid()}", "-D", str(tree)),
                    *(f"--bind-ro={outside}:{inside}" for outside, inside in read_only.items()),
                    "systemd.unit=multi-user.target",
                ],
                env={**os.environ, "SYSTEMD_NSPAWN_UNIFIED_HIERARCHY": "1"},
                stdin=subprocess.DEVNULL,
                stdout=console,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        try:
            container = Container(_find_leader(process, folder / "console"))
            _wait_running(container, folder / "console")
            yield container
        finally:
            process.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(20)
            process.kill()
            process.wait()
    finally:
        subprocess.run(["umount", "--lazy", str(tree)], check=True)


def _find_leader(process: subprocess.Popen[bytes], console: Path) -> int:
    """The container's process 1, by its number outside."""
    deadline = time.monotonic() + BOOT_SECONDS
    while time.monotonic() < deadline:
        if process.poll() is not None:
            give_up(f"systemd-nspawn does not start here: {console.read_text(errors='replace')[-500:]}")
        children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
        for child in children:
            with contextlib.suppress(OSError):
                if Path(f"/proc/{child}/comm").read_text().strip() == "systemd":
                    return int(child)
        time.sleep(0.1)
    raise AssertionError(f"no systemd in the container:\n{console.read_text(errors='replace')[-2000:]}")


def _wait_running(container: Container, console: Path) -> None:
    deadline = time.monotonic() + BOOT_SECONDS
    while time.monotonic() < deadline:
        state = container.run("systemctl", "is-system-running", check=False).strip()
        if state in ("running", "degraded"):
            return
        time.sleep(0.2)
    raise AssertionError(f"the container did not come up:\n{console.read_text(errors='replace')[-2000:]}")
