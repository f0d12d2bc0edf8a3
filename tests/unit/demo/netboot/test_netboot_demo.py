"""One run of the demo of a network, with processes and a clock that are fakes: what is shown and left."""

from __future__ import annotations

import contextlib
import io
import json
import re
import signal
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from ectools.demo.netboot import run_netboot as run_module
from ectools.demo.netboot.boot_host import DemoBootHost
from ectools.demo.netboot.boot_stages import NetbootStage
from ectools.demo.netboot.lab import Lab
from ectools.demo.netboot.machine import MACHINE_MAC, Ovmf
from ectools.demo.netboot.needs import Needs
from ectools.demo.netboot.run_netboot import NetbootDemoOutcome, run_netboot_demo
from ectools.demo.netboot.verdict import ProbeVerdict
from ectools.demo.run import DemoError
from ectools.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Iterator

NODE = "192.168.77.145"
SECONDS = 0.05
"""A turn of the demo: one line is said in it."""


def request(path: str) -> str:
    return json.dumps({"event": "request", "method": "GET", "status": 200, "peer": NODE, "path": path})


SAID = [
    ("router.log", f"dnsmasq-dhcp: 1 DHCPDISCOVER(lan0) {MACHINE_MAC}"),
    ("router.log", f"dnsmasq-dhcp: 1 DHCPACK(lan0) {NODE} {MACHINE_MAC}"),
    ("serve.log", json.dumps({"event": "TFTP has sent a file", "client": NODE, "file": "ec-ipxe.efi"})),
    *(("serve.log", request(path)) for path in ("/netboot.ipxe", "/releases/x/kernel", "/releases/x/initrd")),
    ("console", "[    0.000000] Linux version 6.1.0"),
    ("console", f"EC-GUEST-UP {{mark}} eth0={NODE}"),
    ("serve.log", json.dumps({"event": "a node has reported", "client": NODE, "state": "healthy"})),
]
BOOTS = ProbeVerdict(outcome="boots", steps=((True, "firmware: the router answers"),), faults=())


class Child:
    """A process of the demo's; it ends when it is asked to, or by itself with a status that a test sets."""

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self.returncode: int | None = None
        self.asked_to_stop = False

    def poll(self) -> int | None:
        return self.returncode

    def terminate(self) -> None:
        self.asked_to_stop = True
        self.returncode = -signal.SIGTERM

    def wait(self, _seconds: float | None = None) -> int:
        assert self.returncode is not None
        return self.returncode


class World:
    """All that the demo starts, and the time in which it looks at it."""

    def __init__(self) -> None:
        self.says = list(SAID)
        self.verdict = BOOTS
        self.router, self.server, self.machine = Child(1), Child(2), Child(3)
        self.directory = Path()
        self.entered = 0
        self.with_parent: set[bool] = set()
        self._now = 100.0

    @contextlib.contextmanager
    def own_namespaces(self) -> Iterator[None]:
        self.entered += 1
        yield

    def start_router(self, lab: Lab, *, dnsmasq: str, boot_file: str, end_with_parent: bool) -> Child:
        assert (dnsmasq, boot_file) == ("/sbin/dnsmasq", "ec-ipxe.efi")
        self.directory = lab.directory
        (lab.directory / "leases").write_text(f"1 {MACHINE_MAC} {NODE} * *\n")
        lab.router_log_file.touch()
        self.with_parent.add(end_with_parent)
        return self.router

    def start_server(self, host: DemoBootHost, _lab: Lab, *, end_with_parent: bool) -> Child:
        host.log_file.write_text("")
        self.with_parent.add(end_with_parent)
        return self.server

    def launch(self, argv: list[str], *, stdout: Any, stderr: Any, end_with_parent: bool) -> Child:
        assert argv == ["qemu"]
        assert stdout is stderr
        stdout.write(b"qemu: a warning\n")
        self.with_parent.add(end_with_parent)
        return self.machine

    def monotonic(self) -> float:
        return self._now

    def sleep(self, seconds: float) -> None:
        assert seconds == SECONDS
        self._now += seconds
        if self.says:
            name, text = self.says.pop(0)
            script = (self.directory / "artifacts/netboot.ipxe").read_text()
            (mark,) = re.findall(r"ec\.mark=([0-9a-f]{16})", script)
            with (self.directory / name).open("a") as stream:
                stream.write(text.replace("{mark}", mark) + "\n")


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> World:
    """Directories are made in ``tmp_path / "t"``; a payload stands in ``tmp_path / "payload"``."""
    fake = World()
    for name in ("t", "payload"):
        (tmp_path / name).mkdir()
    for name in ("kernel", "initrd"):
        (tmp_path / "payload" / name).write_text(name)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "t"))
    needs = Needs(dnsmasq="/sbin/dnsmasq", ovmf=Ovmf(code=Path("/c"), variables=Path("/v")))
    replaced: dict[str, Any] = {
        "find_needs": lambda _ovmf: needs,
        "own_namespaces": fake.own_namespaces,
        "make_network": lambda _lab: None,
        "start_router": fake.start_router,
        "run_demo_probe": lambda _lab: fake.verdict,
        "build_machine_argv": lambda _plug, _ovmf, _directory: ["qemu"],
        "launch": fake.launch,
        "time": fake,
        "find_first_stage": lambda: None,
    }
    for name, value in replaced.items():
        monkeypatch.setattr(run_module, name, value)
    monkeypatch.setattr(Lab, "add_plug", lambda _lab: None)
    monkeypatch.setattr(DemoBootHost, "run_command", lambda host, words: f"{host.directory}/{words[1]}\n")
    start = lambda *words, **more: fake.start_server(*words, **more)  # noqa: E731, PLW0108 - is bound to a host
    monkeypatch.setattr(DemoBootHost, "start", start)
    return fake


def run_demo_here(
    tmp_path: Path, *, keep: bool = False, timeout: float = 60, ipxe: Path | None = None
) -> tuple[NetbootDemoOutcome, str]:
    stream = io.StringIO()
    outcome = run_netboot_demo(
        payload=tmp_path / "payload", ipxe=ipxe, keep=keep, timeout=timeout, stderr=stream
    )
    return outcome, stream.getvalue()


def fail(tmp_path: Path, *, timeout: float = 60) -> tuple[list[str], str]:
    """The error's lines, and what was drawn before; nothing is left."""
    stream = io.StringIO()
    with pytest.raises(DemoError) as caught:
        run_netboot_demo(payload=tmp_path / "payload", ipxe=None, keep=False, timeout=timeout, stderr=stream)
    assert list((tmp_path / "t").iterdir()) == []
    return caught.value.message.splitlines(), stream.getvalue()


def test_a_machine_that_comes_up_is_stopped_and_nothing_is_left(world: World, tmp_path: Path) -> None:
    outcome, drawn = run_demo_here(tmp_path)
    times = {stage.name.lower(): round(SECONDS * at, 3) for at, stage in enumerate(NetbootStage, start=1)}
    assert outcome == NetbootDemoOutcome(verdict="boots", stages=times, address=NODE, directory=None, pids=())
    assert all(child.asked_to_stop for child in (world.router, world.server, world.machine))
    assert (world.entered, world.with_parent) == (1, {True})
    assert list((tmp_path / "t").iterdir()) == []
    assert all(f"✓ {stage}" in drawn for stage in NetbootStage)
    sections = re.findall(r"^(\w[\w ]*): ", drawn, re.MULTILINE)
    assert sections == ["payload", "network", "boot host", "verdict", "boot"]
    # The verdict comes first.
    assert drawn.index("✓ x64 UEFI: boots") < drawn.index(f"✓ {NetbootStage.DISCOVER}")
    # Commands as a person types them, and what they said without the temporary directory.
    assert "    $ ectools netboot pack artifacts --tag boot-v2026.03.02\n    pack\n" in drawn
    assert "    $ ectools netboot serve --config netboot.json\n" in drawn


def test_a_machine_that_is_up_and_does_not_report_is_told(world: World, tmp_path: Path) -> None:
    world.says = SAID[:-1]
    outcome, drawn = run_demo_here(tmp_path)
    assert "up" in outcome.stages
    assert "reported" not in outcome.stages
    assert "! the machine is up, and has not reported: its system may not do it" in drawn


def test_what_is_kept_runs_on(world: World, tmp_path: Path) -> None:
    outcome, _ = run_demo_here(tmp_path, keep=True)
    assert (outcome.pids, world.with_parent) == ((1, 2, 3), {False})
    assert not any(child.asked_to_stop for child in (world.router, world.server, world.machine))
    assert outcome.directory is not None
    assert (outcome.directory / "console").is_file()


def test_an_ipxe_that_is_given_is_the_first_stage(world: World, tmp_path: Path) -> None:
    (tmp_path / "ipxe.efi").touch()
    _, drawn = run_demo_here(tmp_path, ipxe=tmp_path / "ipxe.efi")
    assert f'"localFile": "{tmp_path}/ipxe.efi"' in drawn


def test_a_payload_is_made_where_none_is_given(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from ectools.demo.payload import Payload

    monkeypatch.setattr(run_module, "build_payload", lambda: Payload.load(tmp_path / "payload"))
    outcome = run_netboot_demo(payload=None, ipxe=None, keep=False, timeout=60, stderr=io.StringIO())
    assert outcome.verdict == "boots"


def test_a_directory_that_is_no_payload_starts_nothing(world: World, tmp_path: Path) -> None:
    (tmp_path / "payload/initrd").unlink()
    with pytest.raises(InputError, match="initrd: no such file"):
        run_demo_here(tmp_path)
    assert world.entered == 0


def test_a_verdict_that_it_does_not_boot_ends_the_demo(world: World, tmp_path: Path) -> None:
    world.verdict = ProbeVerdict(
        outcome="stops", steps=((False, "tftp://x: silent"),), faults=("TFTP is silent; to do: look",)
    )
    lines, drawn = fail(tmp_path)
    assert lines == ["the probe says that the machine does not boot here: stops"]
    for line in ("✗ tftp://x: silent", "! TFTP is silent; to do: look", "✗ x64 UEFI: stops"):
        assert f"  {line}\n" in drawn
    assert not world.machine.asked_to_stop


def test_a_machine_that_takes_too_long_is_told_with_its_console(world: World, tmp_path: Path) -> None:
    world.says = [*SAID[:4], ("console", "EC-GUEST-UP 0123456789abcdef eth0=192.168.77.9\r")]
    lines, drawn = fail(tmp_path, timeout=2)
    assert lines == [
        "the machine did not come up: 2 s went by",
        "  qemu: a warning",
        "  EC-GUEST-UP 0123456789abcdef eth0=192.168.77.9",
    ]
    assert re.search(rf"✗ {NetbootStage.KERNEL} +not reached", drawn)


@pytest.mark.parametrize(
    ("ended", "name"), [("router", "the router"), ("server", "the boot server"), ("machine", "the machine")]
)
def test_whatever_ends_is_told(world: World, tmp_path: Path, ended: str, name: str) -> None:
    getattr(world, ended).returncode = 3
    world.says = []
    lines, _ = fail(tmp_path)
    assert lines[0] == f"the machine did not come up: {name} ended: exit status 3"


def test_warnings_of_the_boot_host_are_shown_but_the_probes(world: World, tmp_path: Path) -> None:
    warnings = [
        ("serve.log", json.dumps({"level": "warning", "event": event, "client": client}))
        for event, client in (("a node went away", NODE), ("a probe went away", "192.168.77.3"))
    ]
    world.says = [*warnings, *SAID]
    _, drawn = run_demo_here(tmp_path)
    assert "  ! a node went away\n" in drawn
    assert "a probe went away" not in drawn
