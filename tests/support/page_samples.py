"""Fleets for the page: nodes in every state, with boots as they come."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ectools.netboot.api.page.facts import (
    FleetFacts,
    NextBoot,
    NodeDetail,
    NodeFacts,
    PlannedValue,
    RolloutFacts,
    ServedRelease,
)
from ectools.netboot.boots.model import BootState, NodeBoot, NodeReport, NodeStage
from ectools.netboot.rollout.model import RolloutState

if TYPE_CHECKING:
    from collections.abc import Mapping

NOW = 1_796_000_000.0
OLD, NEW = "boot-v2026.02.01", "boot-v2026.03.02"
IDS = {OLD: "5b1f" * 16, NEW: "c0de" * 16}
JOURNAL = """\
Nov 29 10:58:41 nuc-04 systemd[1]: Starting every-channel-node.service - the publisher...
Nov 29 10:58:41 nuc-04 ec-node[812]: reading /run/credentials/every-channel-node.service/key
Nov 29 10:58:41 nuc-04 ec-node[812]: error: relay.example.org: no address (EAI_AGAIN)
Nov 29 10:58:41 nuc-04 systemd[1]: every-channel-node.service: Main process exited, status=1/FAILURE
Nov 29 10:58:41 nuc-04 systemd[1]: every-channel-node.service: Failed with result 'exit-code'.
Nov 29 10:58:42 nuc-04 systemd[1]: Failed to start every-channel-node.service - the publisher.
"""
# Seconds of the stages after the script, as a small machine has them on a gigabit network.
_PACE = {
    NodeStage.OFFER: -4.1,
    NodeStage.FIRST_STAGE: -1.3,
    NodeStage.SCRIPT: 0.0,
    NodeStage.KERNEL: 0.6,
    NodeStage.INITRD: 9.4,
    NodeStage.LOADED: 9.8,
    NodeStage.RUNNING: 14.2,
    NodeStage.UP: 31.5,
}
_OWN_SECONDS = {"firmware": 11.8, "loader": 14.1, "kernel": 2.2, "initrd": 3.9, "userspace": 13.4}


def make_boot(
    node: str,
    state: BootState = BootState.HEALTHY,
    *,
    ago: float = 3600.0,
    until: NodeStage = NodeStage.UP,
    tag: str = NEW,
    number: int = 0,
    machine: str | None = None,
    why: str | None = None,
    report: NodeReport | None = None,
    now: float = NOW,
) -> NodeBoot:
    """A boot that got as far as ``until``, and whose script was fetched ``ago`` seconds before ``now``."""
    started = now - ago
    stages: Mapping[NodeStage, float] = {
        stage: started + after * (1 + number % 5 / 8)
        for stage, after in _PACE.items()
        if after <= _PACE[until]
    }
    ended = {
        BootState.BOOTING: None,
        BootState.FAILED: started + 600.0,
        BootState.ABANDONED: max(stages.values()) + 40,
    }.get(state, stages.get(NodeStage.UP))
    return NodeBoot(
        id=f"b{number:07d}",
        token_hash="0" * 64,
        machine=machine or f"mac 02:00:00:00:{number // 256:02x}:{number % 256:02x}",
        node=None if machine else node,
        group=None if machine else "runners",
        release=IDS[tag],
        tag=tag,
        system="ec-runner-x86_64-netboot",
        client=f"198.51.100.{number % 254 + 1}",
        stages=stages,
        state=state,
        why=why,
        report=report,
        ended=ended,
    )


def _make_kind(kind: int, name: str, number: int, now: float) -> NodeBoot | None:
    match kind:
        case 3:
            ended = NodeReport(
                release=IDS[NEW],
                healthy=False,
                failed=("every-channel-node.service",),
                journal=JOURNAL,
                seconds=_OWN_SECONDS,
            )
            why = "failed: every-channel-node.service"
            return make_boot(
                name, BootState.UNHEALTHY, now=now, ago=610 + number, number=number, why=why, report=ended
            )
        case 7:
            why = "no report within 600 s; last seen: initrd"
            return make_boot(
                name,
                BootState.FAILED,
                now=now,
                ago=1900 + number,
                number=number,
                until=NodeStage.INITRD,
                why=why,
            )
        case 11 | 15:
            until = [NodeStage.SCRIPT, NodeStage.INITRD, NodeStage.RUNNING][number % 3]
            return make_boot(
                name, BootState.BOOTING, now=now, ago=7.0 + number % 31, number=number, until=until
            )
        case 18:
            return None
    tag = OLD if number % 9 == 4 else NEW
    report = NodeReport(
        release=IDS[tag], system="/nix/store/0c5d…-nixos-system-ec-runner", seconds=_OWN_SECONDS
    )
    return make_boot(
        name, now=now, ago=4000.0 + 977 * number % 600_000, number=number, tag=tag, report=report
    )


def make_fleet(count: int, *, unknown: int = 0, now: float = NOW) -> FleetFacts:
    """``count`` nodes; of twenty one has failed, one is unhealthy, two are under way, and one is silent."""
    nodes = []
    for number in range(count):
        name = f"nuc-{number + 1:02d}"
        held = "by alice since 2026-11-29 10:02:11 UTC" if number % 20 == 9 else None
        nodes.append(
            NodeFacts(
                subject=name,
                group=("runners", "edge", "lab")[number % 7 % 3],
                known_by=(f"mac 02:00:00:00:{number // 256:02x}:{number % 256:02x}",),
                boot=_make_kind(number % 20, name, number, now),
                hold=held,
                may_release=held is not None,
                next=NextBoot(release=IDS[NEW], tag=NEW),
            )
        )
    for number in range(unknown):
        mac = f"02:00:00:ff:00:{number:02x}"
        said = f"mac {mac}, serial PF{number:04d}"
        boot = make_boot("", now=now, number=5000 + number, machine=said, ago=80.0 + 40 * number)
        nodes.append(
            NodeFacts(
                subject=said, is_known=False, known_by=(f"mac {mac}", f"serial PF{number:04d}"), boot=boot
            )
        )
    return FleetFacts(nodes=nodes, now=now, release=ServedRelease(id=IDS[NEW], tag=NEW, staged=now - 260_000))


def make_detail(now: float = NOW) -> NodeDetail:
    """A node whose newest boot is unhealthy, after others of every state."""
    name = "nuc-04"
    newest = _make_kind(3, name, 3, now)
    assert newest is not None
    boots = [
        newest,
        make_boot(name, now=now, ago=90_000, number=103, tag=NEW, report=NodeReport(seconds=_OWN_SECONDS)),
        make_boot(
            name,
            BootState.FAILED,
            now=now,
            ago=170_000,
            number=101,
            until=NodeStage.RUNNING,
            tag=OLD,
            why="no report within 600 s; last seen: running",
        ),
        make_boot(
            name, BootState.ABANDONED, now=now, ago=180_000, number=102, until=NodeStage.KERNEL, tag=OLD
        ),
        make_boot(name, now=now, ago=400_000, number=104, tag=OLD),
    ]
    node = NodeFacts(
        subject=name,
        group="runners",
        known_by=("mac 02:00:00:00:00:03", "serial PF1234"),
        boot=newest,
        next=NextBoot(release=IDS[NEW], tag=NEW),
    )
    planned = [
        PlannedValue(name="Boots from", value="network", origin="groups.runners.boot"),
        PlannedValue(name="Release", value=NEW, origin="groups.runners.release"),
        PlannedValue(name="System", value="ec-runner-x86_64-netboot", origin="groups.runners.system"),
        PlannedValue(
            name="Kernel arguments",
            value="console=ttyS0 isolcpus=3",
            origin="groups.runners.kernelArguments, nodes.nuc-04.kernelArguments",
        ),
    ]
    return NodeDetail(node=node, boots=boots, now=now, planned=planned, releases=[NEW, OLD])


def make_rollouts(now: float = NOW) -> list[RolloutFacts]:
    """One under way, one that was stopped, one that is done."""
    names = [f"nuc-{number:02d}" for number in range(1, 40)]
    shared = {"release": (IDS[NEW], NEW), "before": (IDS[OLD], OLD), "by": "alice"}
    return [
        RolloutFacts(
            group="lab",
            state=RolloutState.DONE,
            started=now - 90_000,
            ended=now - 80_000,
            wave=2,
            waves=[1, 2, 3],
            size=3,
            healthy=names[:3],
            **shared,
        ),
        RolloutFacts(
            group="runners",
            state=RolloutState.RUNNING,
            started=now - 1500,
            wave=2,
            waves=[1, 3, 10, 39],
            size=39,
            healthy=names[:3],
            under_way=names[3:8],
            awaited=names[9:39],
            failed=[(names[8], "failed: every-channel-node.service")],
            **shared,
        ),
        RolloutFacts(
            group="edge",
            state=RolloutState.STOPPED,
            started=now - 4000,
            ended=now - 3600,
            wave=0,
            waves=[1, 2, 5],
            size=5,
            failed=[(names[0], "no healthy report; last seen at initrd")],
            why="1 node has failed (nuc-01: no healthy report; last seen at initrd)",
            **shared,
        ),
    ]
