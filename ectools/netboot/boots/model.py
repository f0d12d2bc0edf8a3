"""One boot of one machine, as it is remembered and shown: which stages it was seen at, and how it ended."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping


class NodeStage(StrEnum):
    """What a boot is seen at, in the order in which a boot that goes well comes by."""

    OFFER = "offer"  # ProxyDHCP has offered it a first stage
    FIRST_STAGE = "first-stage"  # it has fetched one
    SCRIPT = "script"  # it has its second stage: the boot begins, and its time
    KERNEL = "kernel"  # it has fetched the kernel whole
    INITRD = "initrd"  # likewise, the last of its initrds
    LOADED = "loaded"  # it is about to start the kernel, wherever the files came from
    RUNNING = "running"  # its initrd runs
    STORE = "store"  # and fetches the system's store, which is not in it
    INSTALLING = "installing"  # a boot that installs: it was told what to install, and does
    INSTALLED = "installed"  # likewise: its disk boots from now on
    UP = "up"  # its report has come, of a boot that installs that of the system on its disk


STAGES = tuple(NodeStage)
_OF_INSTALLATION = frozenset({NodeStage.INSTALLING, NodeStage.INSTALLED})
# Only of systems whose store is not in their initrd, which is known when the stage is seen.
_OF_SOME = frozenset({NodeStage.STORE})


class BootState(StrEnum):
    """How a boot stands. It is told from all others by its first word on the page and in metrics."""

    BOOTING = "booting"
    HEALTHY = "healthy"  # up in time, what was assigned runs, and no unit has failed
    UNHEALTHY = "unhealthy"  # it said that something has failed, or that it runs another release
    FAILED = "failed"  # no report within its time
    ABANDONED = "abandoned"  # the machine asked for another boot before it reported on this one


@dataclass(frozen=True, kw_only=True, slots=True)
class NodeReport:
    """What a node said of its boot. ``release`` and ``system``: what it says that it runs, a store path.

    ``seconds``: systemd's own figures, by part: ``firmware``, ``loader``, ``kernel``, ``initrd``,
    ``userspace``. ``failed``: names of failed units. ``journal``: the end of it, redacted, where it is not
    healthy. ``clock``: Unix seconds of the node's own clock, as it sent the report.
    """

    release: str | None = None
    system: str | None = None
    healthy: bool = True
    seconds: Mapping[str, float] = field(default_factory=dict)
    failed: tuple[str, ...] = ()
    journal: str = ""
    clock: float | None = None


class InstallStep(StrEnum):
    """What a machine is at that installs, in the order in which it does it."""

    BEGIN = "begin"  # it asks what to install
    DISK = "disk"  # it looks for the disk
    PARTITION = "partition"  # it is about to write to it
    COPY = "copy"  # the system's closure
    LOADER = "loader"  # the boot loader, and the activation of the system
    KEYS = "keys"  # what is left: SSH host keys, its first report
    DONE = "done"


INSTALL_STEPS = tuple(InstallStep)


@dataclass(frozen=True, kw_only=True, slots=True)
class BootInstall:
    """The installation of a boot. ``run``: a random word of the program that does it, None before it began.

    ``disk``: its own name of what it writes to; ``percent``: of the step; ``error``: why it does not go on.
    """

    order: str
    run: str | None = None
    step: InstallStep | None = None
    percent: int | None = None
    disk: str | None = None
    error: str | None = None


class UpdateStep(StrEnum):
    """What a node on a disk is at that goes to another release, in the order in which it does it."""

    COPY = "copy"  # the system's closure
    ENTRY = "entry"  # the boot menu's
    SAME = "same"  # nothing is to be done: the release brings the system that runs


@dataclass(frozen=True, kw_only=True, slots=True)
class BootUpdate:
    """What a running node has said of its way to the next release, an id. ``at``: Unix seconds.

    ``error``: why it does not go on.
    """

    release: str
    step: UpdateStep
    at: float
    error: str | None = None

    @property
    def stays(self) -> bool:
        """Whether it runs that release by what it has booted already."""
        return self.step is UpdateStep.SAME and self.error is None


@dataclass(frozen=True, kw_only=True, slots=True)
class NodeBoot:
    """A boot. ``id`` is random and public; its token is known to the node alone, and kept as ``token_hash``.

    ``machine`` is how the machine said who it is (``mac 02:…``), ``node`` and ``group`` None where the fleet
    has no name for it. ``release`` is the id of what was served, ``tag`` its tag, ``system`` its name.
    ``store_path`` is the NixOS system in it that the kernel is told to start, where that is known; of a boot
    that installs, the system that is installed, which is the one that reports.
    ``client``: the address that asked for the script. ``stages``: stage → Unix seconds; ``within``: seconds
    from the script to a healthy report. ``store_percent``: how much of its store it has fetched, where it
    does that by itself. ``why``: one line on what is wrong, where that is known. ``ended``:
    Unix seconds, None while it is booting. ``from_disk``: the machine's disk was booted, and its system has
    asked for the boot itself; then ``store_path`` is what was to be booted. ``update``: what it said last of
    the next one; ``release`` is that one where it brings the system that runs, so that nothing was booted.
    ``asked``: Unix seconds at which its system asked last what is next, as far as that is kept.
    ``after``: the id of the boot whose system has started this one's
    kernel itself (kexec), so that no firmware and no script were asked; None of any other.
    """

    id: str
    token_hash: str
    machine: str
    release: str
    system: str
    node: str | None = None
    group: str | None = None
    tag: str | None = None
    store_path: str | None = None
    client: str | None = None
    within: float = 600.0
    stages: Mapping[NodeStage, float] = field(default_factory=dict)
    state: BootState = BootState.BOOTING
    why: str | None = None
    report: NodeReport | None = None
    ended: float | None = None
    install: BootInstall | None = None
    store_percent: int | None = None
    from_disk: bool = False
    update: BootUpdate | None = None
    asked: float | None = None
    after: str | None = None

    @property
    def subject(self) -> str:
        """What it is listed under: the node's name, or the machine."""
        return self.machine if self.node is None else self.node

    @property
    def expected_stages(self) -> tuple[NodeStage, ...]:
        """The stages that it comes by where it goes well, in their order."""
        left_out = _OF_SOME if self.install is not None else _OF_SOME | _OF_INSTALLATION
        return tuple(each for each in STAGES if each in self.stages or each not in left_out)

    @property
    def started(self) -> float:
        """Unix seconds of the script, with which the boot begins."""
        return self.stages[NodeStage.SCRIPT]

    @property
    def last_stage(self) -> NodeStage:
        """The last one that it was seen at, in the order of a boot."""
        return max(self.stages, key=STAGES.index)

    @property
    def deadline(self) -> float:
        """Unix seconds at which it has failed, unless it has reported by then."""
        return self.started + self.within
