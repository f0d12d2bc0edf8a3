"""A node whose disk is full, or takes nothing: what was kept there stays whole, and the log says so."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from support.hostile_boot import BootHost, Publisher, serve
from support.needs import give_up, require_tool

if TYPE_CHECKING:
    from collections.abc import Iterator
    from socketserver import StreamRequestHandler

MODULES = Path(__file__).parents[2] / "nix/modules"
OLD, NEXT, BOOT = ("credential-that-is-there", "credential-that-comes-xx", "token-of-this-boot-00000")
WORDS = f"every_channel.report=URL/report?boot={BOOT}"
# follow.sh, as far as follow-installed.sh asks it.
HARNESS = """
set -euo pipefail
boot=disk state=healthy runs=r release=sha256-x system=s answer='' boot_token=t reason='' FOLLOW_SIGNATURE=''
say() { echo "$*"; }
ask() { :; }
ask_assignment() { :; }
systemctl() { echo "systemctl $*"; }
for each in node/files node/requests follow-trust follow-installed; do source "$MODULES/$each.sh"; done
installed=$1 ready=$1 trusted_name=${2-}
if boot_again; then echo boots; else echo stays; fi
"""


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A small file system."""
    if os.geteuid() != 0:
        give_up("a file system of its own takes root")
    require_tool("curl", "install curl")
    place = tmp_path / "disk"
    place.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "small", place], check=True)
    try:
        yield place
    finally:
        subprocess.run(["umount", place], check=True)


def fill(disk: Path) -> Path:
    """Until nothing more fits; the file that it is full of."""
    filler = disk / "filler"
    with filler.open("wb", buffering=0) as file:
        for size in (4096, 1):
            try:
                while True:
                    file.write(b"x" * size)
            except OSError:
                pass
    return filler


def tell(disk: Path, run: Path, words: str = WORDS, *, refusals: int = 0) -> tuple[int, str]:
    """disk-boot.sh, and a boot server that knows this node; in texts its address is URL.

    It says 403 so often first; ``run``/pauses has how long the program waits, which does not.
    """
    left = iter(range(refusals))
    sleep = run / "bin/sleep"
    sleep.parent.mkdir(exist_ok=True)
    sleep.write_text(f'#!/bin/sh\necho "$1" >> "{run}/pauses"\n')
    sleep.chmod(0o755)
    with serve(BootHost(publisher=Publisher(), store_path="/nix/store/x")) as host:
        credential = disk / "credential"
        credential.write_text(credential.read_text().replace("URL", host.url))
        body = f"credential {NEXT}\narguments {words.replace('URL', host.url)}\n".encode()

        def answer(handler: StreamRequestHandler) -> None:
            if next(left, None) is None:
                head = f"HTTP/1.1 200 OK\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n"
                handler.wfile.write(head.encode() + body)
            else:
                handler.wfile.write(b"HTTP/1.1 403 No\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")

        host.answers["/disk-boot"] = answer
        filler = fill(disk) if (disk / "full").exists() else None
        done = subprocess.run(
            ["bash", str(MODULES / "disk-boot.sh")],
            env={
                "PATH": f"{sleep.parent}:{os.environ['PATH']}",
                "STATE_DIRECTORY": str(disk),
                "RUNTIME_DIRECTORY": str(run),
                "DISK_RUNNING": str(run),
                "DISK_SYS": str(run),
                "REPORTING": "",
            },
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        if filler is not None:
            filler.unlink()
        for file in (credential, run / "arguments"):
            file.write_text(file.read_text().replace(host.url, "URL"))
    return done.returncode, done.stdout + done.stderr


def test_the_credential_outlives_a_boot_with_a_full_disk(disk: Path, tmp_path: Path) -> None:
    """What is to be told of that boot is told, and the next one shows what there is."""
    run = tmp_path / "run"
    run.mkdir()
    text = f"node n\nurl URL\ntoken {OLD}\n"
    (disk / "credential").write_text(text)
    (disk / "full").touch()
    status, said = tell(disk, run)
    assert status == 0, said
    assert (disk / "credential").read_text() == text
    assert (run / "arguments").read_text() == f"{WORDS}\n"
    assert f"{disk}/credential could not be written" in said
    assert "the next boot shows the one that it has" in said
    assert OLD not in said
    assert NEXT not in said
    assert sorted(each.name for each in disk.iterdir()) == ["credential", "full"]
    (disk / "full").unlink()
    assert tell(disk, run)[0] == 0
    assert (disk / "credential").read_text() == text.replace(OLD, NEXT)


def test_a_boot_server_that_moves_is_followed_and_the_one_before_kept(disk: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    run.mkdir()
    moved = "http://127.0.0.1:9"
    (disk / "credential").write_text(f"node n\nurl URL\ntoken {OLD}\n")
    assert tell(disk, run, WORDS.replace("URL", moved))[0] == 0
    assert (disk / "credential").read_text() == f"node n\nurl {moved}\nbefore URL\ntoken {NEXT}\n"
    # There is nobody there: it is asked where it was, which says so.
    assert tell(disk, run)[0] == 0
    assert (disk / "credential").read_text() == f"node n\nurl URL\nbefore {moved}\ntoken {NEXT}\n"
    # It answers where it is said to be: nobody is asked anywhere else from now on.
    assert tell(disk, run)[0] == 0
    assert (disk / "credential").read_text() == f"node n\nurl URL\ntoken {NEXT}\n"


def test_whoever_has_the_old_address_says_nothing_of_this_disk(disk: Path, tmp_path: Path) -> None:
    """Else it would wait for a quarter of an hour, while the boot server comes up elsewhere."""
    run = tmp_path / "run"
    run.mkdir()
    (disk / "credential").write_text(f"node n\nurl http://127.0.0.1:9\nbefore URL\ntoken {OLD}\n")
    status, said = tell(disk, run, refusals=1)
    assert status == 0
    assert "does not know this disk" not in said
    (pause,) = (run / "pauses").read_text().split()
    assert int(pause) <= 1


class Machine:
    """A disk, an EFI system partition, and a system that is to be booted next."""

    def __init__(self, disk: Path, directory: Path) -> None:
        self.disk, self.esp, self.system = disk, directory / "esp", directory / "system"
        self.entries = self.esp / "loader/entries"
        self.entries.mkdir(parents=True)
        self.system.mkdir()
        for name in ("kernel", "initrd", "nixos-version", "kernel-params"):
            (self.system / name).write_text(f"{name}\n")
        (directory / "running").mkdir()
        self.running = directory / "running"
        self.before = self.entries / "nixos-generation-4.conf"
        self.before.write_text(f"title NixOS\nsort-key nixos\noptions init={self.running}/init quiet\n")

    @property
    def kernels(self) -> Path:
        return self.esp / "EFI/nixos"

    def name_kernel(self, kind: str) -> Path:
        system = str(self.system).removeprefix("/nix/store/")
        return self.kernels / f"{system.partition('/')[0]}-{kind}.efi"

    def boot_again(self, name: str = "") -> list[str]:
        done = subprocess.run(
            ["bash", "-c", HARNESS, "follow", str(self.system), name],
            env={
                "PATH": os.environ["PATH"],
                "MODULES": str(MODULES),
                "FOLLOW_STATE": str(self.disk),
                "FOLLOW_ESP": str(self.esp),
                "FOLLOW_TRIES": "2",
                "FOLLOW_RUNNING": str(self.running),
            },
            capture_output=True,
            text=True,
            check=True,
        )
        return [*done.stdout.splitlines(), done.stderr]

    @property
    def menu(self) -> list[str]:
        return sorted(each.name for each in self.entries.iterdir() if each != self.before)


@pytest.fixture
def machine(disk: Path, tmp_path: Path) -> Machine:
    return Machine(disk, tmp_path)


def test_a_system_is_booted_on_trial(machine: Machine) -> None:
    said = machine.boot_again("7 boot-v7 s")
    assert said[-3:-1] == ["systemctl reboot", "boots"], said
    (entry,) = machine.menu
    assert entry.endswith("+2.conf")
    text = (machine.entries / entry).read_text()
    assert f"options init={machine.system}/init kernel-params\n" in text
    assert text.startswith("title NixOS\nversion Generation ")
    # Where the one before has no machine id: the boot loader would sort it behind that.
    assert text.endswith("sort-key nixos\n")
    pending = (machine.disk / "pending").read_text().split()
    assert pending[:2] == [str(machine.system), "sha256-x"]
    assert entry == f"{pending[3]}+2.conf" == "nixos-generation-4.next+2.conf"
    # By what it was signed as it is known again, whatever a boot server names.
    assert (machine.disk / "releases").read_text() == f"{machine.system} 7 boot-v7 s\n"
    assert (machine.esp / "loader/loader.conf").read_text() == "default nixos-generation-4.*conf\n"


def test_it_comes_beside_what_runs_as_that_has_it(machine: Machine) -> None:
    """And with what describes the hardware, where its system brings that."""
    tree = machine.system / "dtbs/board.dtb"
    tree.parent.mkdir()
    tree.write_text("a device tree\n")
    specification = {"org.nixos.systemd-boot": {"devicetree": str(tree), "sortKey": "nixos"}}
    (machine.system / "boot.json").write_text(json.dumps(specification))
    with machine.before.open("a") as stream:
        stream.write(f"machine-id {'0' * 32}\n")
    conf = machine.esp / "loader/loader.conf"
    conf.write_text("preferred nixos-x.conf\ntimeout 5\ndefault nixos-generation-4.conf\n")
    said = machine.boot_again()
    assert said[-2] == "boots", said
    (entry,) = machine.menu
    lines = (machine.entries / entry).read_text().splitlines()
    name = machine.name_kernel("board.dtb").name
    assert lines[-2:] == [f"machine-id {'0' * 32}", f"devicetree /EFI/nixos/{name}"]
    assert (machine.kernels / name).read_text() == "a device tree\n"
    assert conf.read_text() == "default nixos-generation-4.*conf\ntimeout 5\n"


def test_without_an_entry_to_go_back_to_nothing_is_booted(machine: Machine) -> None:
    machine.before.unlink()
    said = machine.boot_again()
    assert said[-2] == "stays"
    assert any("no entry of what runs" in line for line in said)


@pytest.mark.parametrize("name", ["nixos-generation-4.next.conf", "nixos-generation-4.next+1-1.conf"])
@pytest.mark.parametrize("missing", ["kernel", "nixos-version", "kernel-params"])
def test_a_system_that_lacks_something_costs_what_runs_nothing(
    machine: Machine, name: str, missing: str
) -> None:
    """Its only entry may be one that NixOS's program has not written anew, or that has not come up as yet."""
    machine.before.rename(machine.entries / name)
    (machine.disk / "pending").write_text(f"{machine.running} sha256-y b nixos-generation-4.next\n")
    (machine.system / missing).unlink()
    said = machine.boot_again()
    assert said[-2] == "stays", said
    assert any("is no system with a boot menu" in line for line in said)
    assert machine.menu == [name]
    assert (machine.disk / "pending").exists()


def test_a_device_tree_that_cannot_be_found_is_called_so(machine: Machine) -> None:
    (machine.system / "boot.json").write_text('{"org.nixos.systemd-boot": {"devicetree": "/nowhere"}}')
    said = machine.boot_again()
    assert said[-2] == "stays", said
    assert any("the device tree of" in line for line in said)


def test_of_systems_that_came_before_so_many_are_known(machine: Machine) -> None:
    lines = [f"/nix/store/{number} {number} t s" for number in range(1, 40)]
    (machine.disk / "releases").write_text("\n".join([f"{machine.system} 3 t s", *lines]) + "\n")
    machine.boot_again("7 boot-v7 s")
    kept = (machine.disk / "releases").read_text().splitlines()
    assert kept == [*lines[-16:], f"{machine.system} 7 boot-v7 s"]


@pytest.mark.parametrize("name", ["", "7 boot-v7 s"])
@pytest.mark.parametrize("before", [None, "/nix/store/other sha256-y b nixos-generation-9\n"])
def test_who_is_on_trial_has_to_be_kept_first(machine: Machine, before: str | None, name: str) -> None:
    if before is not None:
        (machine.disk / "pending").write_text(before)
    fill(machine.disk)
    said = machine.boot_again(name)
    assert said[-2] == "stays"
    assert "systemctl reboot" not in said
    assert any("the disk does not keep what is on trial" in line for line in said)
    assert "could not be written" in said[-1]
    assert machine.menu == []
    # Of an update that is not begun nothing is left, and no half of it.
    assert [each.name for each in machine.disk.iterdir()] == ["filler"]


@pytest.mark.parametrize("step", ["kernel", "initrd", "loader.conf"])
def test_an_entry_that_cannot_be_made_is_given_up(machine: Machine, step: str) -> None:
    """A directory stands where the file is to be."""
    name = machine.esp / "loader/loader.conf" if step == "loader.conf" else machine.name_kernel(step)
    name.mkdir(parents=True)
    said = machine.boot_again()
    assert said[-2] == "stays"
    assert "systemctl reboot" not in said
    assert any("the EFI system partition cannot be written to" in line for line in said)
    assert [each for each in machine.menu if "+" in each] == []
    assert list(machine.esp.rglob("*.new")) == []
    assert not (machine.disk / "pending").exists()


def test_a_boot_menu_that_keeps_the_entry_keeps_who_is_on_trial(machine: Machine) -> None:
    """Else the entry would be booted, and nobody know it for a trial."""
    machine.boot_again()
    (entry,) = machine.menu
    (machine.entries / entry).unlink()
    (machine.entries / entry).mkdir()
    assert machine.boot_again()[-2] == "stays"
    assert (machine.disk / "pending").exists()


def test_a_line_that_cannot_be_added_leaves_those_that_are_there(disk: Path) -> None:
    """settle-update.sh ends there, and goes on at the next boot."""
    (disk / "bad").write_text("/nix/store/one\n")
    (disk / "pending").write_text("/nix/store/two sha256-y b nixos-generation-9\n")
    (disk / "esp/loader/entries").mkdir(parents=True)
    (disk / "esp/loader/entries/nixos-generation-9+0-2.conf").touch()
    fill(disk)
    done = subprocess.run(
        ["bash", str(MODULES / "settle-update.sh"), "look"],
        env={
            "PATH": os.environ["PATH"],
            "STATE_DIRECTORY": str(disk),
            "SETTLE_ESP": str(disk / "esp"),
            "SETTLE_RUNNING": "/",
        },
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert f"{disk}/bad could not be written" in done.stderr
    assert (disk / "bad").read_text() == "/nix/store/one\n"
    assert (disk / "pending").exists()
