"""Two rollouts over four machines, from an empty directory: a good release, and one that is taken back."""

from __future__ import annotations

import secrets
import time
from contextlib import ExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TextIO

from ectools.demo.draw import Drawing, print_section
from ectools.demo.netboot.boot_host import show_command
from ectools.demo.netboot.boot_stages import BOOT_FILE
from ectools.demo.netboot.first_stage import find_first_stage
from ectools.demo.netboot.lab import BOOT_IP, ROUTER_IP, Lab, make_network, start_router
from ectools.demo.netboot.machine import build_machine_argv
from ectools.demo.netboot.namespaces import own_namespaces
from ectools.demo.netboot.needs import find_needs
from ectools.demo.payload import Payload, build_payload
from ectools.demo.rollout.fleet_host import DEMO_MACHINES, DemoRelease, FleetHost
from ectools.demo.rollout.progress import RolloutProgress, describe_standing, is_settled
from ectools.demo.run import DemoError
from ectools.demo.run_directory import leave_run_directory, make_run_directory
from ectools.processes import describe_exit, launch, stop

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from ectools.demo.netboot.needs import Needs

_LOOK_SECONDS = 0.5
_STOP_SECONDS = 10.0

_NETWORK = f"""\
router   {ROUTER_IP}   gives leases; its "Network Boot" names {BOOT_IP} and {BOOT_FILE}
boot     {BOOT_IP}   ectools netboot: TFTP and HTTP, and the fleet's page
machines {", ".join(DEMO_MACHINES)}: UEFI firmware, one NIC, no disk"""


@dataclass(frozen=True, kw_only=True)
class RolloutDemoOutcome:
    """``why``: why the bad release was stopped. ``seconds``: of what took time → how much.

    ``reached``: how many machines had the bad release. With ``keep``, where its logs are and what runs on;
    else None and nothing.
    """

    why: str
    reached: int
    seconds: dict[str, float]
    directory: Path | None
    pids: tuple[int, ...]


def run_rollout_demo(
    *,
    payload: Path | None,
    ipxe: Path | None,
    keep: bool,
    timeout: float,
    stderr: TextIO,
    ovmf: Path | None = None,
) -> RolloutDemoOutcome:
    """Boot four machines, lead them to a good release, and to a bad one, from which all come back.

    Arguments, and what is left, as ``run_netboot_demo`` has them; ``timeout`` is each part's, in seconds.
    Raises MissingNeedsError, NamespaceError, DemoError where a rollout does not end as it must.
    """
    needs = find_needs(ovmf)
    print_section(stderr, "payload", "kernel, initramfs and iPXE from the distribution's packages, cached")
    parts = build_payload() if payload is None else Payload.load(payload)
    first_stage = ipxe.absolute() if ipxe is not None else find_first_stage()
    with ExitStack() as undo:
        directory = make_run_directory(undo)
        undo.enter_context(own_namespaces())
        demo = _RolloutDemo(directory, needs=needs, keep=keep, timeout=timeout, stderr=stderr, undo=undo)
        demo.set_up(parts, first_stage)
        demo.boot()
        demo.lead_on()
        stopped = demo.lead_back()
        if keep:
            leave_run_directory(directory)
            undo.pop_all()
    return RolloutDemoOutcome(
        why=stopped["why"],
        reached=stopped["taken"],
        seconds=demo.seconds,
        directory=directory if keep else None,
        pids=tuple(process.pid for process in demo.processes.values()) if keep else (),
    )


class _RolloutDemo:
    """What one run has set up so far; ``undo`` stops it."""

    def __init__(
        self, directory: Path, *, needs: Needs, keep: bool, timeout: float, stderr: TextIO, undo: ExitStack
    ) -> None:
        self._directory = directory
        self._needs = needs
        self._keep = keep
        self._timeout = timeout
        self._stderr = stderr
        self._undo = undo
        self._drawing = Drawing(stderr)
        self._progress = RolloutProgress()
        self._lab = Lab(directory, tag="demo")
        self._host = FleetHost(directory)
        self.processes: dict[str, subprocess.Popen[bytes]] = {}
        self.seconds: dict[str, float] = {}

    def set_up(self, payload: Payload, first_stage: Path | None) -> None:
        """The network, and the boot host in it."""
        print_section(
            self._stderr, "network", "namespaces of this demo's own; no other network is touched", _NETWORK
        )
        make_network(self._lab)
        router = start_router(
            self._lab, dnsmasq=self._needs.dnsmasq, boot_file=BOOT_FILE, end_with_parent=not self._keep
        )
        self._own("the router", router)
        print_section(self._stderr, "boot host", "its settings, and the commands that make it serve")
        self._drawing.said(self._host.write_settings(first_stage))
        self._host.lay_out_artifacts(payload, mark=secrets.token_hex(8))
        for words in self._host.list_commands():
            self._run(words)
        self._drawing.command(show_command(self._host.serve_command))
        self._own("the boot server", self._host.start(self._lab, end_with_parent=not self._keep))

    def boot(self) -> None:
        """Start the machines; all come up on the release that the fleet names."""
        print_section(
            self._stderr, "machines", f"the fleet says that they boot {DemoRelease.FIRST}; each then follows"
        )
        for name, mac in DEMO_MACHINES.items():
            directory = self._directory / name
            directory.mkdir()
            plug = self._lab.add_plug()
            argv = build_machine_argv(plug, self._needs.ovmf, directory, mac=mac, boots_again=True)
            with (directory / "qemu.log").open("wb") as log:
                machine = launch(argv, stdout=log, stderr=log, end_with_parent=not self._keep)
            self._own(name, machine)
        self._watch("boot", lambda nodes, _: is_settled(nodes, DemoRelease.FIRST))

    def lead_on(self) -> None:
        """A rollout of the good release, to its end."""
        print_section(self._stderr, "good", f"{DemoRelease.GOOD}: one machine first, then half, then all")
        self._run(self._host.build_start(DemoRelease.GOOD, max_failures=1))

        def is_done(nodes: list[Any], rollout: Mapping[str, Any]) -> bool:
            if rollout["state"] not in ("running", "done"):
                raise DemoError(f"the rollout of {DemoRelease.GOOD} has {rollout['state']}: {rollout['why']}")
            return rollout["state"] == "done" and is_settled(nodes, DemoRelease.GOOD)

        self._watch("good", is_done)

    def lead_back(self) -> Mapping[str, Any]:
        """The rollout of the bad release, which has stopped, with all machines back where they were."""
        print_section(
            self._stderr, "bad", f"{DemoRelease.BAD}: a unit fails on it, which nobody knows beforehand"
        )
        self._run(self._host.build_start(DemoRelease.BAD, max_failures=0))

        def has_stopped(_: list[Any], rollout: Mapping[str, Any]) -> bool:
            if rollout["state"] == "done":
                raise DemoError(f"the rollout of {DemoRelease.BAD} is done, and its machines are not healthy")
            return bool(rollout["state"] == "stopped")

        stopped = self._watch("stopped", has_stopped)
        self._watch("back", lambda nodes, _: is_settled(nodes, DemoRelease.GOOD))
        reached = f"{stopped['taken']} of {len(DEMO_MACHINES)} had {DemoRelease.BAD}"
        self._drawing.verdict(f"all are back on {DemoRelease.GOOD}; {reached}", good=True)
        return stopped

    def _watch(self, part: str, is_over: Callable[[list[Any], Mapping[str, Any]], bool]) -> Mapping[str, Any]:
        """Draw what happens until it is over: the rollout then, empty where none has begun."""
        began, client = time.monotonic(), self._host.client
        while True:
            ended = {name: each for name, each in self.processes.items() if each.poll() is not None}
            nodes = [node for node in client.get("nodes")["nodes"] if node["known"]]
            rollouts = client.get("rollouts")["rollouts"]
            rollout: Mapping[str, Any] = next(iter(rollouts), {})
            for line in self._progress.look(nodes, rollout or None):
                if line.good is None:
                    self._drawing.note(line.text)
                else:
                    self._drawing.step(line.text, good=line.good)
            seconds = time.monotonic() - began
            if is_over(nodes, rollout):
                self.seconds[part] = round(seconds, 1)
                return rollout
            if ended or seconds > self._timeout:
                raise DemoError(self._describe_end(ended, nodes))
            self._drawing.standing(f"{seconds:5.1f} s  {describe_standing(nodes)}")
            time.sleep(_LOOK_SECONDS)

    def _describe_end(self, ended: Mapping[str, subprocess.Popen[bytes]], nodes: list[Any]) -> str:
        how = f"{self._timeout:g} s went by"
        for name, process in ended.items():
            how = f"{name} ended: {describe_exit(process.returncode)}"
        return f"it did not come to its end: {how}\n  {describe_standing(nodes)}"

    def _run(self, words: tuple[str, ...]) -> None:
        self._drawing.command(show_command(words))
        self._drawing.said(self._host.run_command(words).replace(f"{self._directory}/", ""))

    def _own(self, name: str, process: subprocess.Popen[bytes]) -> None:
        self.processes[name] = process
        self._undo.callback(stop, process, term_seconds=_STOP_SECONDS)
