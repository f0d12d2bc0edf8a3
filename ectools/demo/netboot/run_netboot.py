"""One boot of a machine over a network, from an empty directory to the machine's mark."""

from __future__ import annotations

import secrets
import time
from contextlib import ExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING, TextIO

from ectools.demo.draw import Drawing, print_section
from ectools.demo.log_lines import follow_lines
from ectools.demo.netboot.boot_host import DemoBootHost, show_command
from ectools.demo.netboot.boot_stages import (
    BOOT_FILE,
    NetbootStage,
    recognise_boot_record,
    recognise_console_line,
    recognise_router_line,
)
from ectools.demo.netboot.first_stage import find_first_stage
from ectools.demo.netboot.lab import BOOT_IP, CLIENT_IP, ROUTER_IP, Lab, make_network, start_router
from ectools.demo.netboot.machine import MACHINE_MAC, build_machine_argv
from ectools.demo.netboot.namespaces import own_namespaces
from ectools.demo.netboot.needs import find_needs
from ectools.demo.netboot.verdict import PROBE_COMMAND, run_demo_probe
from ectools.demo.payload import UP_MARK, Payload, build_payload
from ectools.demo.run import DemoError
from ectools.demo.run_directory import leave_run_directory, make_run_directory
from ectools.demo.stages import Timeline, find_remark, parse_record
from ectools.processes import describe_exit, launch, stop

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Iterator
    from pathlib import Path

    from ectools.demo.netboot.needs import Needs

_POLL_SECONDS = 0.05
_STOP_SECONDS = 10.0
_TAIL_LINES = 15
# From the machine's mark on: the initramfs of somebody's own may have nothing that reports.
_REPORT_SECONDS = 30.0

_NETWORK = f"""\
router   {ROUTER_IP}   gives leases; its "Network Boot" names {BOOT_IP} and {BOOT_FILE}
boot     {BOOT_IP}   ectools netboot: TFTP and HTTP
machine  {MACHINE_MAC}: UEFI firmware, one NIC, no disk"""


@dataclass(frozen=True, kw_only=True)
class NetbootDemoOutcome:
    """``verdict``: the probe's, before the boot. ``stages``: seconds from the machine's start to each.

    ``address``: the machine's. With ``keep``, where its logs are and what runs on; else None and nothing.
    """

    verdict: str
    stages: dict[str, float]
    address: str | None
    directory: Path | None
    pids: tuple[int, ...]


def run_netboot_demo(
    *,
    payload: Path | None,
    ipxe: Path | None,
    keep: bool,
    timeout: float,
    stderr: TextIO,
    ovmf: Path | None = None,
) -> NetbootDemoOutcome:
    """Set a network up in namespaces, ask the probe for its verdict, and boot a machine in it.

    ``payload``: a directory with ``kernel`` and ``initrd``, and ``ipxe`` an iPXE for x86-64 UEFI; None has
    them from the distribution's packages. ``ovmf``: a directory with OVMF; None finds it. ``timeout`` is the
    boot's, in seconds. With ``keep`` all goes on running; else nothing is left. The process stays in the
    namespaces. Raises MissingNeedsError, NamespaceError, DemoError where the machine does not come up.
    """
    needs = find_needs(ovmf)
    print_section(stderr, "payload", "kernel, initramfs and iPXE from the distribution's packages, cached")
    parts = build_payload() if payload is None else Payload.load(payload)
    first_stage = ipxe.absolute() if ipxe is not None else find_first_stage()
    with ExitStack() as undo:
        directory = make_run_directory(undo)
        undo.enter_context(own_namespaces())
        demo = _NetbootDemo(directory, needs=needs, keep=keep, stderr=stderr, undo=undo)
        demo.set_up_network()
        demo.set_up_boot_host(parts, first_stage)
        verdict = demo.probe()
        timeline = demo.boot(timeout=timeout)
        if keep:
            leave_run_directory(directory)
            undo.pop_all()
    return NetbootDemoOutcome(
        verdict=verdict,
        stages=timeline.by_name(),
        address=demo.address,
        directory=directory if keep else None,
        pids=tuple(process.pid for process in demo.processes) if keep else (),
    )


class _NetbootDemo:
    """What one run has set up so far; ``undo`` stops it."""

    def __init__(self, directory: Path, *, needs: Needs, keep: bool, stderr: TextIO, undo: ExitStack) -> None:
        self._directory = directory
        self._needs = needs
        self._keep = keep
        self._stderr = stderr
        self._undo = undo
        self._drawing = Drawing(stderr)
        self._lab = Lab(directory, tag="demo")
        self._host = DemoBootHost(directory)
        self._mark = secrets.token_hex(8)
        self.processes: list[subprocess.Popen[bytes]] = []
        self.address: str | None = None

    def set_up_network(self) -> None:
        print_section(
            self._stderr, "network", "namespaces of this demo's own; no other network is touched", _NETWORK
        )
        make_network(self._lab)
        self._own(
            start_router(
                self._lab,
                dnsmasq=self._needs.dnsmasq,
                boot_file=BOOT_FILE,
                end_with_parent=not self._keep,
            )
        )

    def set_up_boot_host(self, payload: Payload, first_stage: Path | None) -> None:
        print_section(self._stderr, "boot host", "its settings, and the commands that make it serve")
        self._drawing.said(self._host.write_settings(first_stage))
        self._host.lay_out_artifacts(payload, mark=self._mark)
        for words in self._host.list_commands():
            self._drawing.command(show_command(words))
            self._drawing.said(self._host.run_command(words).replace(f"{self._directory}/", ""))
        self._drawing.command(show_command(self._host.serve_command))
        self._own(self._host.start(self._lab, end_with_parent=not self._keep))

    def probe(self) -> str:
        """The verdict's outcome. Raises DemoError where it is not that the machine boots."""
        print_section(
            self._stderr, "verdict", "the probe asks as the firmware would, and no machine runs yet"
        )
        self._drawing.command(show_command(PROBE_COMMAND))
        verdict = run_demo_probe(self._lab)
        for good, text in verdict.steps:
            self._drawing.step(text, good=good)
        for fault in verdict.faults:
            self._drawing.remark(fault)
        self._drawing.verdict(f"x64 UEFI: {verdict.outcome}", good=verdict.boots)
        if not verdict.boots:
            raise DemoError(f"the probe says that the machine does not boot here: {verdict.outcome}")
        return verdict.outcome

    def boot(self, *, timeout: float) -> Timeline:
        """Start the machine and follow it until it is up, and has said so. Raises DemoError."""
        print_section(self._stderr, "boot", "seconds a stage, and since the machine's start")
        console = self._directory / "console"
        console.touch()
        argv = build_machine_argv(self._lab.add_plug(), self._needs.ovmf, self._directory)
        with (self._directory / "qemu.log").open("wb") as log:
            machine = launch(argv, stdout=log, stderr=log, end_with_parent=not self._keep)
        self._own(machine)
        timeline, began = Timeline(NetbootStage), time.monotonic()
        with ExitStack() as files:
            follow = self._follow(files, console)
            while True:
                seconds = time.monotonic() - began
                # Asked before the logs are read to their ends, so that nothing said before is missed.
                ended = [process for process in self.processes if process.poll() is not None]
                for stage in next(follow):
                    if timeline.note(stage, seconds):
                        self._drawing.reached(timeline, stage)
                up = timeline.reached.get(NetbootStage.UP)
                if up is not None and NetbootStage.REPORTED in timeline.reached:
                    break
                if up is not None and seconds > up + _REPORT_SECONDS:
                    self._drawing.remark("the machine is up, and has not reported: its system may not do it")
                    break
                if ended or seconds > timeout:
                    self._drawing.stopped(timeline)
                    raise DemoError(self._describe_end(ended, timeout=timeout, console=console))
                self._drawing.tick(timeline, seconds)
                time.sleep(_POLL_SECONDS)
        self.address = self._lab.find_address(MACHINE_MAC)
        return timeline

    def _follow(self, files: ExitStack, console: Path) -> Iterator[list[NetbootStage]]:
        """Each time: the stages told of since the last time. Warnings of the boot host are drawn."""
        router, host, machine = (
            follow_lines(files.enter_context(path.open("rb")))
            for path in (self._lab.router_log_file, self._host.log_file, console)
        )
        mark = f"{UP_MARK} {self._mark}"
        while True:
            records = [parse_record(line) for line in next(host)]
            for record in records:
                of_probe = CLIENT_IP in (record.get("client"), record.get("peer"))
                if not of_probe and (remark := find_remark(record)) is not None:
                    self._drawing.remark(remark)
            found = [
                *(recognise_router_line(_decode(line)) for line in next(router)),
                *map(recognise_boot_record, records),
                *(recognise_console_line(_decode(line), mark=mark) for line in next(machine)),
            ]
            yield sorted({stage for stage in found if stage is not None}, key=list(NetbootStage).index)

    def _describe_end(self, ended: list[subprocess.Popen[bytes]], *, timeout: float, console: Path) -> str:
        names = ("the router", "the boot server", "the machine")
        how = f"{timeout:g} s went by"
        if ended:
            process = ended[0]
            how = f"{names[self.processes.index(process)]} ended: {describe_exit(process.returncode)}"
        shown = _decode(console.read_bytes()).replace("\r", "").rstrip().splitlines()[-_TAIL_LINES:]
        said = _decode((self._directory / "qemu.log").read_bytes()).splitlines()[-_TAIL_LINES:]
        return "\n".join([f"the machine did not come up: {how}", *(f"  {line}" for line in (*said, *shown))])

    def _own(self, process: subprocess.Popen[bytes]) -> None:
        self.processes.append(process)
        self._undo.callback(stop, process, term_seconds=_STOP_SECONDS)


def _decode(text: bytes) -> str:
    return text.decode("utf-8", "replace")
