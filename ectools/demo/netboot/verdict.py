"""The probe's verdict on the lab's network, before a machine is started."""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ectools.demo.netboot.lab import LAN
from ectools.processes import ProcessError, run

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ectools.demo.netboot.lab import Lab

PROBE_COMMAND = ("netboot", "probe", "--interface", LAN, "--arch", "7")
_WINDOWS_SECONDS = (3, 20)
"""How long an answer is waited for: local servers answer at once. Where it is not that the machine boots, the
host may be a loaded one, and the probe asks again.
"""

_SECONDS = 120.0


@dataclass(frozen=True, kw_only=True)
class ProbeVerdict:
    """``outcome``: as the probe has it (``boots``). ``steps``: what each server said or gave, and whether
    that is good. ``faults``: what is wrong, with what to do.
    """

    outcome: str
    steps: tuple[tuple[bool, str], ...]
    faults: tuple[str, ...]

    @property
    def boots(self) -> bool:
        return self.outcome == "boots" and not self.faults


def run_demo_probe(lab: Lab) -> ProbeVerdict:
    """Probe the lab's network from its client. Raises ProcessError where the probe cannot be run."""
    verdicts = (_probe(lab, seconds) for seconds in _WINDOWS_SECONDS)
    verdict = next(verdicts)
    return verdict if verdict.boots else next(verdicts)


def _probe(lab: Lab, seconds: int) -> ProbeVerdict:
    argv = [*lab.inside(lab.client), sys.executable, "-m", "ectools.cli.main", *PROBE_COMMAND]
    try:
        out = run([*argv, "--timeout", str(seconds), "--json"], timeout=_SECONDS).stdout
    except ProcessError as error:
        # Status 1 with a report: it found a fault.
        if error.returncode != 1 or not error.stdout:
            raise
        out = error.stdout
    return read_verdict(json.loads(out))


def read_verdict(report: Mapping[str, Any]) -> ProbeVerdict:
    """The verdict of a report on one architecture (``--json`` of the probe)."""
    (architecture,) = report["architectures"]
    steps: list[tuple[bool, str]] = []
    for stage in architecture["steps"]:
        for offer in stage["offers"]:
            parts = [f"offers {offer['address']}"] if offer["address"] else []
            parts += [f"names {offer['siaddr']} and {offer['file']}"] if offer["file"] else []
            steps.append((True, f"{stage['stage']}: {offer['server']} {' and '.join(parts)}"))
        for load in stage["loads"]:
            what = ", ".join(part for part in (load["contents"], load["detail"]) if part)
            steps.append((load["state"] == "found", f"{load['uri']}: {what or load['state']}"))
    faults = [
        f"{fault['message']}; to do: {fault['remedy']}"
        for fault in report["faults"]
        if fault["severity"] == "error"
    ]
    return ProbeVerdict(outcome=architecture["outcome"], steps=tuple(steps), faults=tuple(faults))
