"""The boot server's figures, each taken where it is counted: what ``/metrics`` answers."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

from ectools.netboot.boots.counts import NO_GROUP, OTHER_GROUP
from ectools.netboot.server.metrics_nodes import render_boots
from ectools.netboot.server.metrics_rollouts import render_rollouts
from ectools.netboot.server.metrics_table import (
    BOOTS,
    DNSMASQ_LINES_LOST,
    DNSMASQ_RESTARTS,
    DNSMASQ_UP,
    FAULTS,
    HTTP_ACCEPTED,
    HTTP_CONNECTIONS,
    HTTP_CONNECTIONS_MAX,
    HTTP_REQUESTS,
    HTTP_SENT,
    HTTP_TURNED_AWAY,
    LAST_RELOAD_SUCCESSFUL,
    NODES_LEFT_OUT,
    PROXY_DHCP_IGNORED,
    PROXY_DHCP_OFFERS,
    RELEASE_STAGED,
    RELEASE_STAGED_TIME,
    RELEASE_SYSTEMS,
    RELEASES_UNSTAGED,
    STATE_CALLS,
    STATE_CLOCK_AHEAD,
    STATE_QUEUE,
    STATE_UNWRITTEN,
    STATE_UP,
    TFTP_FAILED,
    TFTP_SENT,
    TFTP_TRANSFERS,
    TFTP_TRANSFERS_MAX,
    TFTP_UNANSWERED,
)
from ectools.netboot.server.metrics_text import render_metric

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from ectools.netboot.api.unstaged import UnstagedRelease
    from ectools.netboot.boots.register import BootRegister
    from ectools.netboot.dnsmasq.counts import ClientCounts
    from ectools.netboot.dnsmasq.tftp_load import TftpFigures
    from ectools.netboot.fleet.override import NodeOverride
    from ectools.netboot.http.server import HttpServer
    from ectools.netboot.release.manifest import Release
    from ectools.netboot.rollout.model import Rollout
    from ectools.netboot.server.metrics_nodes import NodeFigures


class StoreHealth(Protocol):
    """What is counted of a store. ``trouble``: why it could not be read or written the last time, or None."""

    @property
    def trouble(self) -> str | None: ...

    @property
    def done(self) -> int: ...

    @property
    def failed(self) -> int: ...

    @property
    def waiting(self) -> int:
        """Calls that wait."""
        ...


@dataclass(frozen=True, kw_only=True)
class Remembered:
    """What is known of nodes, of what is said of them for a while (``overrides``, by name), of boots and
    rollouts (group → its own, and how many of its nodes are ``under_way``), and the store that it is in; and
    what groups are to boot that is not staged here (``unstaged``). ``left_out``: how many nodes that were
    added are not in force.

    ``clock_ahead``: seconds by which the host's clock is ahead of that of who shares it; None: not known.
    """

    nodes: NodeFigures
    register: BootRegister
    rollouts: Mapping[str, Rollout]
    store: StoreHealth
    under_way: Mapping[str, int] = field(default_factory=dict)
    unstaged: Sequence[UnstagedRelease] = ()
    overrides: Mapping[str, NodeOverride] = field(default_factory=dict)
    clock_ahead: float | None = None
    left_out: int = 0


def render_metrics(
    server: HttpServer,
    *,
    boots: int,
    dnsmasq_up: bool,
    dnsmasq_restarts: int,
    tftp: TftpFigures | None,
    clients: ClientCounts | None,
    release: Release | None,
    remembered: Remembered,
    is_reloaded: bool = True,
) -> str:
    """The figures of a boot server. ``release`` is what is served.

    ``tftp``, ``clients`` None: nothing is known of it. ``is_reloaded``: the settings that were read last are
    in force.
    """
    none: Mapping[str, str] = {}
    return "".join(
        [
            *_render_http(server),
            render_metric(LAST_RELOAD_SUCCESSFUL, [(none, int(is_reloaded))]),
            render_metric(BOOTS, [(none, boots)]),
            render_metric(DNSMASQ_UP, [(none, int(dnsmasq_up))]),
            render_metric(DNSMASQ_RESTARTS, [(none, dnsmasq_restarts)]),
            *([] if tftp is None else _render_tftp(tftp)),
            *([] if clients is None else _render_clients(clients)),
            *_render_release(release),
            *_render_remembered(remembered, release),
        ]
    )


def _render_http(server: HttpServer) -> Iterator[str]:
    none: Mapping[str, str] = {}
    slots, admission = server.admission.slots, server.admission
    yield render_metric(HTTP_CONNECTIONS, [(none, len(slots))])
    yield render_metric(HTTP_CONNECTIONS_MAX, [(none, slots.capacity)])
    yield render_metric(HTTP_ACCEPTED, [(none, admission.accepted)])
    answers = sorted(server.answers.items())
    yield render_metric(HTTP_REQUESTS, [({"status": str(status)}, count) for status, count in answers])
    yield render_metric(HTTP_SENT, [(none, server.sent_bytes)])
    losses = admission.describe().items()
    yield render_metric(HTTP_TURNED_AWAY, [({"reason": reason}, count) for reason, count in losses])
    yield render_metric(FAULTS, [(none, server.faults())])


def _render_tftp(tftp: TftpFigures) -> Iterator[str]:
    none: Mapping[str, str] = {}
    yield render_metric(DNSMASQ_LINES_LOST, [(none, tftp.lines_lost)])
    yield render_metric(TFTP_TRANSFERS, [(none, tftp.transfers)])
    yield render_metric(TFTP_TRANSFERS_MAX, [(none, tftp.max_transfers)])
    yield render_metric(TFTP_SENT, [(none, tftp.sent)])
    counts = {"buffer": tftp.dropped, "share": tftp.refused}
    known = [({"reason": reason}, count) for reason, count in counts.items() if count is not None]
    yield render_metric(TFTP_UNANSWERED, known)


def _render_clients(clients: ClientCounts) -> Iterator[str]:
    yield render_metric(TFTP_FAILED, [({}, clients.failed)])
    for metric, counts in ((PROXY_DHCP_OFFERS, clients.offers), (PROXY_DHCP_IGNORED, clients.ignored)):
        yield render_metric(
            metric, [({"architecture": name}, count) for name, count in sorted(counts.items())]
        )


def _render_remembered(known: Remembered, release: Release | None) -> Iterator[str]:
    none: Mapping[str, str] = {}
    register, store = known.register, known.store
    yield known.nodes.render(register.latest, served=release, overrides=known.overrides)
    yield render_metric(NODES_LEFT_OUT, [(none, known.left_out)])
    yield from render_boots(register.counts, groups=known.nodes.groups)
    yield from render_rollouts(known.rollouts, known.under_way, groups=known.nodes.groups)
    yield _render_unstaged(known.unstaged, groups=known.nodes.groups)
    yield render_metric(STATE_UP, [(none, int(store.trouble is None))])
    yield render_metric(STATE_QUEUE, [(none, store.waiting)])
    yield render_metric(STATE_UNWRITTEN, [(none, register.unwritten)])
    calls = {"done": store.done, "failed": store.failed}
    yield render_metric(STATE_CALLS, [({"result": result}, count) for result, count in calls.items()])
    if known.clock_ahead is not None:
        yield render_metric(STATE_CLOCK_AHEAD, [(none, round(known.clock_ahead))])


def _render_unstaged(unstaged: Sequence[UnstagedRelease], *, groups: frozenset[str]) -> str:
    # All groups, so that an alert ends when it is staged.
    counts = Counter(dict.fromkeys(groups - {NO_GROUP}, 0))
    for each in unstaged:
        counts.update(group if group in groups else OTHER_GROUP for group in each.groups)
    return render_metric(
        RELEASES_UNSTAGED, [({"group": name}, count) for name, count in sorted(counts.items())]
    )


def _render_release(release: Release | None) -> Iterator[str]:
    none: Mapping[str, str] = {}
    yield render_metric(RELEASE_STAGED, [(none, int(release is not None))])
    if release is not None:
        yield render_metric(RELEASE_STAGED_TIME, [(none, release.staged_at)])
    systems = Counter(each.architecture or "unknown" for each in release.systems) if release else Counter()
    counts = sorted(systems.items())
    yield render_metric(RELEASE_SYSTEMS, [({"architecture": name}, count) for name, count in counts])
