"""The table of the boot server's figures: what each is, its unit, its labels; docs/METRICS.md is made of it.

Names are as Prometheus wants them (https://prometheus.io/docs/practices/naming/): base units, ``_total`` for
what only grows.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING

from ectools.netboot.boots.counts import MAX_GROUPS, OTHER_GROUP

if TYPE_CHECKING:
    from collections.abc import Mapping

METRIC_PREFIX = "every_channel_netboot"
MAX_RELEASES = 20
"""Releases that nodes are told apart by: those of most nodes."""
OTHER_RELEASE = "_other"
"""The label of all others; no release's id begins so."""
MAX_NODE_SERIES = 10_000
"""Nodes that have a series of their own: the first by name."""
REPORT_RESULTS = ("accepted", "refused", "malformed", "flood", "unkept", "unheard")
"""How a report may be answered (``ectools.netboot.server.node_reports``)."""


class MetricKind(StrEnum):
    """What Prometheus does with it."""

    COUNTER = "counter"
    GAUGE = "gauge"
    HISTOGRAM = "histogram"


@dataclass(frozen=True, kw_only=True)
class Metric:
    """A figure: ``help`` says what and in which unit, ``labels`` (name → words) by what it is told apart."""

    name: str
    kind: MetricKind
    help: str
    labels: Mapping[str, str] = field(default_factory=dict)

    @property
    def full_name(self) -> str:
        """As Prometheus has it."""
        return f"{METRIC_PREFIX}_{self.name}"


def _counter(name: str, text: str, **labels: str) -> Metric:
    return Metric(name=f"{name}_total", kind=MetricKind.COUNTER, help=text, labels=labels)


def _gauge(name: str, text: str, **labels: str) -> Metric:
    return Metric(name=name, kind=MetricKind.GAUGE, help=text, labels=labels)


def _histogram(name: str, text: str, **labels: str) -> Metric:
    return Metric(name=name, kind=MetricKind.HISTOGRAM, help=text, labels=labels)


HTTP_CONNECTIONS = _gauge("http_connections", "HTTP connections that have a slot.")
HTTP_CONNECTIONS_MAX = _gauge("http_connections_max", "Slots of HTTP connections.")
HTTP_ACCEPTED = _counter("http_accepted", "HTTP connections accepted.")
HTTP_REQUESTS = _counter("http_requests", "HTTP requests answered, by status.", status="HTTP's, `503`")
HTTP_SENT = _counter("http_sent_bytes", "Bytes of bodies handed to the network over HTTP.")
HTTP_TURNED_AWAY = _counter(
    "http_turned_away",
    "HTTP clients that were turned away, or whose connection made room for another, by reason.",
    reason="`overload`, `stranger`, `resting`, `slow` or `share`",
)
FAULTS = _counter("faults", "Exceptions caught where none may get through: each is a bug.")

LAST_RELOAD_SUCCESSFUL = _gauge(
    "last_reload_successful",
    "Whether the settings and the fleet file that were read last are in force: 1, or 0: those of before are.",
)

DNSMASQ_UP = _gauge("dnsmasq_up", "Whether dnsmasq serves: 1 or 0.")
DNSMASQ_RESTARTS = _counter(
    "dnsmasq_restarts", "Times that dnsmasq was started again because it had ended or hung."
)
DNSMASQ_LINES_LOST = _counter("dnsmasq_lines_lost", "Lines that dnsmasq has left out of its log.")
TFTP_TRANSFERS = _gauge("tftp_transfers", "TFTP transfers under way.")
TFTP_TRANSFERS_MAX = _gauge("tftp_transfers_max", "TFTP transfers that there may be.")
TFTP_SENT = _counter("tftp_sent", "Files that TFTP has sent whole, as dnsmasq's log has them.")
TFTP_UNANSWERED = _counter(
    "tftp_unanswered",
    "TFTP requests that got no answer: they did not fit into the socket's buffer, or their address had "
    "its share of the transfers.",
    reason="`buffer` or `share`",
)

TFTP_FAILED = _counter("tftp_failed", "Files that TFTP could not send to their end.")
_ARCHITECTURE = "`x64 UEFI`, or another that there is a boot binary for; `other`"
PROXY_DHCP_OFFERS = _counter(
    "proxy_dhcp_offers",
    "Answers of ProxyDHCP to clients, by the client's architecture: an offer, or a boot file's name.",
    architecture=_ARCHITECTURE,
)
PROXY_DHCP_IGNORED = _counter(
    "proxy_dhcp_ignored",
    "Clients that ProxyDHCP had no boot binary for, by their architecture.",
    architecture=_ARCHITECTURE,
)

RELEASE_STAGED = _gauge("release_staged", "Whether a release is served: 1 or 0.")
RELEASE_STAGED_TIME = _gauge(
    "release_staged_timestamp_seconds", "Unix time at which the release that is served was staged."
)
RELEASE_INFO = _gauge(
    "release_info",
    "1 for the release that is served, and for each that nodes have.",
    release="its id",
    tag="its tag, empty where it has none",
)
RELEASE_SYSTEMS = _gauge(
    "release_systems",
    "Systems of the release that is served, by architecture.",
    architecture="of its kernel, `unknown` where nobody has said",
)

RELEASES_UNSTAGED = _gauge(
    "releases_unstaged",
    "Releases that the group's nodes are to boot, and that are not staged on this host, by group.",
    group=f"the group's name; `{OTHER_GROUP}` for those above {MAX_GROUPS}",
)

BOOTS = _counter("boots", "Times that a node has fetched everything that it boots from.")
_GROUP = f"the group's name, empty without one; `{OTHER_GROUP}` for those above {MAX_GROUPS}"
_RELEASE = f"its id, empty without a boot; `{OTHER_RELEASE}` for those above {MAX_RELEASES}"
BOOTS_BEGUN = _counter("boots_begun", "Boots of machines that said who they are, by group.", group=_GROUP)
BOOTS_ENDED = _counter(
    "boots_ended",
    "Boots that came to an end, by group and result; one that recovers counts by each of its results.",
    group=_GROUP,
    result="`healthy`, `unhealthy`, `failed` or `abandoned`",
)
BOOT_SECONDS = _histogram(
    "boot_seconds", "Seconds of a boot from its script to the healthy report, by group.", group=_GROUP
)
BOOT_STAGE_SECONDS = _histogram(
    "boot_stage_seconds",
    "Seconds to a stage of a boot, from the last stage before it that was seen, by group.",
    stage="`first-stage`, `script`, `kernel`, `initrd`, `loaded`, `running`, `store`, `installing`, "
    "`installed` or `up`",
    group=_GROUP,
)
REPORTS = _counter(
    "reports",
    "Reports of nodes, by how they were answered.",
    result="`accepted`, `refused` (its token), `malformed`, `flood`, `unkept`, or `unheard`"
    " (its boot may be one of another boot host's)",
)
NODES = _gauge(
    "nodes",
    "Nodes of the fleet, and machines that it has no name for, by group, and by release and state of the "
    "newest boot.",
    group=_GROUP,
    release=_RELEASE,
    state="`booting`, `healthy`, `unhealthy`, `failed`, `abandoned`; without a boot `unseen`, `disk`; "
    "`held`: it is held, and has no boot that is under way or healthy",
)
NODE_INFO = _gauge("node_info", "1 for each node of the fleet.", node="its name", group=_GROUP)
NODE_INFO_LEFT_OUT = _gauge(
    "node_info_left_out", "Nodes of the fleet without a node_info, because there are too many."
)
NODES_LEFT_OUT = _gauge(
    "nodes_left_out",
    "Nodes that were added, and are left out because they contradict the settings or the fleet file.",
)

ROLLOUTS_BY_STATE = _gauge(
    "rollouts",
    "Rollouts by group and state: a group has its last one, also when that has ended.",
    group=_GROUP,
    state="`running`, `paused`, `done`, `stopped` (by itself) or `aborted` (by somebody)",
)
ROLLOUT_NODES = _gauge(
    "rollout_nodes",
    "Nodes that the group's rollout has given its release, by how they are.",
    group=_GROUP,
    standing="`healthy`, `failed`, or `under_way`, which has not reported and is waited for",
)
_LED_GROUP = "the group's name"
ROLLOUT_WAVE = _gauge(
    "rollout_wave", "The wave that the group's rollout is at; 0 is the canaries'.", group=_LED_GROUP
)
ROLLOUT_WAVES = _gauge("rollout_waves", "The number of the rollout's last wave.", group=_LED_GROUP)
ROLLOUT_WAVE_OPENED_TIME = _gauge(
    "rollout_wave_opened_timestamp_seconds", "Unix time at which that wave was opened.", group=_LED_GROUP
)
ROLLOUT_ENDED_TIME = _gauge(
    "rollout_ended_timestamp_seconds", "Unix time at which the group's rollout has ended.", group=_LED_GROUP
)

STATE_UP = _gauge("state_up", "Whether what is remembered could be read and written the last time: 1 or 0.")
STATE_QUEUE = _gauge("state_queue", "Reads and writes that wait for the disk.")
STATE_UNWRITTEN = _gauge("state_boots_unwritten", "Boots that the disk does not have as they are.")
STATE_CALLS = _counter(
    "state_calls", "Reads and writes of what is remembered, by how they ended.", result="`done` or `failed`"
)
STATE_CLOCK_AHEAD = _gauge(
    "state_clock_ahead_seconds",
    "Seconds by which this host's clock is ahead of the NATS server's, below 0: behind; only where a "
    "state is shared.",
)

METRIC_SECTIONS: Mapping[str, tuple[Metric, ...]] = {
    "Nodes and their boots": (
        *(NODES, NODE_INFO, NODE_INFO_LEFT_OUT, NODES_LEFT_OUT, BOOTS_BEGUN, BOOTS_ENDED),
        *(BOOT_SECONDS, BOOT_STAGE_SECONDS, REPORTS, BOOTS),
    ),
    "Rollouts": (
        *(ROLLOUTS_BY_STATE, ROLLOUT_NODES, ROLLOUT_WAVE, ROLLOUT_WAVES, ROLLOUT_WAVE_OPENED_TIME),
        ROLLOUT_ENDED_TIME,
    ),
    "Releases": (RELEASE_STAGED, RELEASE_STAGED_TIME, RELEASE_INFO, RELEASE_SYSTEMS, RELEASES_UNSTAGED),
    "Settings": (LAST_RELOAD_SUCCESSFUL,),
    "HTTP": (
        *(HTTP_CONNECTIONS, HTTP_CONNECTIONS_MAX, HTTP_ACCEPTED, HTTP_REQUESTS, HTTP_SENT),
        *(HTTP_TURNED_AWAY, FAULTS),
    ),
    "TFTP and ProxyDHCP": (
        *(DNSMASQ_UP, DNSMASQ_RESTARTS, DNSMASQ_LINES_LOST, TFTP_TRANSFERS, TFTP_TRANSFERS_MAX),
        *(TFTP_SENT, TFTP_FAILED, TFTP_UNANSWERED, PROXY_DHCP_OFFERS, PROXY_DHCP_IGNORED),
    ),
    "What is remembered": (STATE_UP, STATE_QUEUE, STATE_UNWRITTEN, STATE_CALLS, STATE_CLOCK_AHEAD),
}
"""All of them, as the documentation has them."""
METRICS = tuple(metric for section in METRIC_SECTIONS.values() for metric in section)
