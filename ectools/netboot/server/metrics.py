"""The boot server's figures as Prometheus reads them: text exposition format 0.0.4.

Written by hand: the format is a line a figure, and prometheus_client would keep a second copy of what the
server counts itself.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from ectools.netboot.dnsmasq.tftp_load import TftpFigures
    from ectools.netboot.http.server import HttpServer
    from ectools.netboot.release.manifest import Release

METRIC_PREFIX = "every_channel_netboot"


@dataclass(frozen=True, kw_only=True)
class Metric:
    """A figure: ``kind`` is ``counter`` or ``gauge``; ``help`` says what and in which unit."""

    name: str
    kind: str
    help: str


HTTP_CONNECTIONS = Metric(name="http_connections", kind="gauge", help="HTTP connections that have a slot.")
HTTP_CONNECTIONS_MAX = Metric(name="http_connections_max", kind="gauge", help="Slots of HTTP connections.")
HTTP_ACCEPTED = Metric(name="http_accepted_total", kind="counter", help="HTTP connections accepted.")
HTTP_REQUESTS = Metric(name="http_requests_total", kind="counter", help="HTTP requests answered, by status.")
HTTP_SENT = Metric(
    name="http_sent_bytes_total", kind="counter", help="Bytes of bodies handed to the network over HTTP."
)
HTTP_TURNED_AWAY = Metric(
    name="http_turned_away_total",
    kind="counter",
    help="HTTP clients that were turned away, or whose connection made room for another, by reason.",
)
FAULTS = Metric(
    name="faults_total", kind="counter", help="Exceptions caught where none may get through: each is a bug."
)
BOOTS = Metric(
    name="boots_total", kind="counter", help="Times that a node has fetched everything that it boots from."
)
DNSMASQ_UP = Metric(name="dnsmasq_up", kind="gauge", help="Whether dnsmasq serves: 1 or 0.")
DNSMASQ_RESTARTS = Metric(
    name="dnsmasq_restarts_total",
    kind="counter",
    help="Times that dnsmasq was started again because it had ended or hung.",
)
DNSMASQ_LINES_LOST = Metric(
    name="dnsmasq_lines_lost_total", kind="counter", help="Lines that dnsmasq has left out of its log."
)
TFTP_TRANSFERS = Metric(name="tftp_transfers", kind="gauge", help="TFTP transfers under way.")
TFTP_TRANSFERS_MAX = Metric(name="tftp_transfers_max", kind="gauge", help="TFTP transfers that there may be.")
TFTP_SENT = Metric(
    name="tftp_sent_total", kind="counter", help="Files that TFTP has sent whole, as dnsmasq's log has them."
)
TFTP_UNANSWERED = Metric(
    name="tftp_unanswered_total",
    kind="counter",
    help="TFTP requests that got no answer: they did not fit into the socket's buffer, or their address had "
    "its share of the transfers.",
)
RELEASE_STAGED = Metric(name="release_staged", kind="gauge", help="Whether a release is served: 1 or 0.")
RELEASE_SYSTEMS = Metric(
    name="release_systems", kind="gauge", help="Systems of the release that is served, by architecture."
)


def render_metrics(
    server: HttpServer,
    *,
    boots: int,
    dnsmasq_up: bool,
    dnsmasq_restarts: int,
    tftp: TftpFigures | None,
    release: Release | None,
) -> str:
    """The figures of a boot server. ``release`` is what is served; ``tftp`` None: nothing is known of it."""
    systems = Counter(each.architecture or "unknown" for each in release.systems) if release else Counter()
    slots = server.admission.slots
    none: Mapping[str, str] = {}
    return "".join(
        [
            render_metric(HTTP_CONNECTIONS, [(none, len(slots))]),
            render_metric(HTTP_CONNECTIONS_MAX, [(none, slots.capacity)]),
            render_metric(HTTP_ACCEPTED, [(none, server.admission.accepted)]),
            render_metric(
                HTTP_REQUESTS,
                [({"status": str(status)}, count) for status, count in sorted(server.answers.items())],
            ),
            render_metric(HTTP_SENT, [(none, server.sent_bytes)]),
            render_metric(
                HTTP_TURNED_AWAY,
                [({"reason": reason}, count) for reason, count in server.admission.describe().items()],
            ),
            render_metric(FAULTS, [(none, server.faults())]),
            render_metric(BOOTS, [(none, boots)]),
            render_metric(DNSMASQ_UP, [(none, int(dnsmasq_up))]),
            render_metric(DNSMASQ_RESTARTS, [(none, dnsmasq_restarts)]),
            *([] if tftp is None else _render_tftp(tftp)),
            render_metric(RELEASE_STAGED, [(none, int(release is not None))]),
            render_metric(
                RELEASE_SYSTEMS, [({"architecture": name}, count) for name, count in sorted(systems.items())]
            ),
        ]
    )


def _render_tftp(tftp: TftpFigures) -> Iterator[str]:
    none: Mapping[str, str] = {}
    yield render_metric(DNSMASQ_LINES_LOST, [(none, tftp.lines_lost)])
    yield render_metric(TFTP_TRANSFERS, [(none, tftp.transfers)])
    yield render_metric(TFTP_TRANSFERS_MAX, [(none, tftp.max_transfers)])
    yield render_metric(TFTP_SENT, [(none, tftp.sent)])
    counts = {"buffer": tftp.dropped, "share": tftp.refused}
    known = [({"reason": reason}, count) for reason, count in counts.items() if count is not None]
    yield render_metric(TFTP_UNANSWERED, known)


def render_metric(metric: Metric, samples: Iterable[tuple[Mapping[str, str], int]]) -> str:
    """One metric with its samples, each its labels and a whole number."""
    name = f"{METRIC_PREFIX}_{metric.name}"
    lines = [f"# HELP {name} {metric.help}", f"# TYPE {name} {metric.kind}"]
    for labels, value in samples:
        inner = ",".join(f'{key}="{_escape(text)}"' for key, text in labels.items())
        lines.append(f"{name}{{{inner}}} {value}" if inner else f"{name} {value}")
    return "".join(f"{line}\n" for line in lines)


def _escape(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
