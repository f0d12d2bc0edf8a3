"""The figures as Prometheus reads them."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

from support.fleets import make_fleet
from support.staged import make_release, make_systems

from ectools.netboot.api.unstaged import UnstagedRelease
from ectools.netboot.boots.register import BootRegister
from ectools.netboot.dnsmasq.counts import ClientCounts
from ectools.netboot.dnsmasq.tftp_load import TftpFigures
from ectools.netboot.fleet.model import Fleet
from ectools.netboot.http.admission import Admission, Loss
from ectools.netboot.kernel import KernelArchitecture
from ectools.netboot.server.metrics import Remembered, render_metrics
from ectools.netboot.server.metrics_nodes import NodeFigures
from ectools.netboot.server.metrics_table import METRICS

if TYPE_CHECKING:
    from ectools.netboot.http.server import HttpServer
    from ectools.netboot.release.manifest import Release
    from ectools.netboot.rollout.model import Rollout
    from ectools.netboot.state.interface import StateStore


class Server:
    """What the figures are taken from."""

    def __init__(self) -> None:
        self.admission = Admission(8)
        for port in range(3):
            self.admission.find_slot("192.0.2.7", port)
        self.admission.losses = Counter({Loss.OVERLOAD: 4, Loss.SHARE: 5})
        self.answers = Counter({404: 2, 200: 7})
        self.sent_bytes = 12345

    def faults(self) -> int:
        return 6


@dataclass
class Store:
    """A store's own figures."""

    trouble: str | None = None
    done: int = 1
    failed: int = 2
    waiting: int = 3


def render(
    server: HttpServer,
    *,
    tftp: TftpFigures | None = None,
    clients: ClientCounts | None = None,
    release: Release | None = None,
    restarts: int = 0,
    store: Store = Store(),  # noqa: B008 - it is not changed
    rollouts: dict[str, Rollout] | None = None,
    clock_ahead: float | None = None,
    remembered: Remembered | None = None,
    is_reloaded: bool = True,
) -> str:
    return render_metrics(
        server,
        boots=9,
        dnsmasq_up=True,
        dnsmasq_restarts=restarts,
        tftp=tftp,
        clients=clients,
        release=release,
        is_reloaded=is_reloaded,
        remembered=remembered
        or Remembered(
            nodes=NodeFigures(Fleet()),
            register=BootRegister(cast("StateStore", None)),
            rollouts=rollouts or {},
            store=store,
            clock_ahead=clock_ahead,
        ),
    )


def test_every_figure_with_its_help_its_kind_and_its_labels() -> None:
    server = cast("HttpServer", Server())
    tftp = TftpFigures(transfers=1, max_transfers=2, sent=3, dropped=4, refused=5, lines_lost=6)
    clients = ClientCounts()
    clients.offers.update({"x86 BIOS": 2, "other": 1})
    clients.ignored["x64 UEFI"] = 3
    clients.failed = 4
    text = render(server, tftp=tftp, clients=clients, restarts=8, clock_ahead=-900.4)
    lines = text.splitlines()
    assert text.endswith("\n")
    samples = [line.removeprefix("every_channel_netboot_") for line in lines if not line.startswith("#")]
    assert samples == [
        "http_connections 0",
        "http_connections_max 8",
        "http_accepted_total 3",
        'http_requests_total{status="200"} 7',
        'http_requests_total{status="404"} 2',
        "http_sent_bytes_total 12345",
        'http_turned_away_total{reason="overload"} 4',
        'http_turned_away_total{reason="stranger"} 0',
        'http_turned_away_total{reason="resting"} 0',
        'http_turned_away_total{reason="slow"} 0',
        'http_turned_away_total{reason="share"} 5',
        "faults_total 6",
        "last_reload_successful 1",
        "boots_total 9",
        "dnsmasq_up 1",
        "dnsmasq_restarts_total 8",
        "dnsmasq_lines_lost_total 6",
        "tftp_transfers 1",
        "tftp_transfers_max 2",
        "tftp_sent_total 3",
        'tftp_unanswered_total{reason="buffer"} 4',
        'tftp_unanswered_total{reason="share"} 5',
        "tftp_failed_total 4",
        'proxy_dhcp_offers_total{architecture="other"} 1',
        'proxy_dhcp_offers_total{architecture="x86 BIOS"} 2',
        'proxy_dhcp_ignored_total{architecture="x64 UEFI"} 3',
        "release_staged 0",
        "node_info_left_out 0",
        "nodes_left_out 0",
        'boots_begun_total{group=""} 0',
        *(
            f'boots_ended_total{{group="",result="{result}"}} 0'
            for result in ("healthy", "unhealthy", "failed", "abandoned")
        ),
        *(
            f'reports_total{{result="{result}"}} 0'
            for result in ("accepted", "flood", "malformed", "refused", "unheard", "unkept")
        ),
        "state_up 1",
        "state_queue 3",
        "state_boots_unwritten 0",
        'state_calls_total{result="done"} 1',
        'state_calls_total{result="failed"} 2',
        "state_clock_ahead_seconds -900",
    ]
    # promtool: what only grows ends in _total.
    kinds = dict(line.removeprefix("# TYPE ").split(" ") for line in lines if line.startswith("# TYPE "))
    assert {
        name: kind for name, kind in kinds.items() if (kind == "counter") != name.endswith("_total")
    } == {}
    assert set(kinds.values()) == {"counter", "gauge", "histogram"}
    helps = [line.split(" ")[2] for line in lines if line.startswith("# HELP ")]
    assert helps == list(kinds)
    assert sorted(helps) == sorted(metric.full_name for metric in METRICS if metric.name not in NOT_YET)


# Without a release there is no time at which it was staged.
NOT_YET = {"release_staged_timestamp_seconds"}


def test_a_host_alone_has_no_other_clock() -> None:
    assert "clock_ahead" not in render(cast("HttpServer", Server()))


def test_what_is_not_staged_is_counted_for_each_group_that_is_told_apart() -> None:
    known = Remembered(
        nodes=NodeFigures(make_fleet(groups={"lab": {}, "runners": {}})),
        register=BootRegister(cast("StateStore", None)),
        rollouts={},
        store=Store(),
        unstaged=[
            UnstagedRelease(release="v1", groups=("gone", "runners")),
            UnstagedRelease(release="v2", groups=("runners",)),
        ],
    )
    lines = render(cast("HttpServer", Server()), remembered=known).splitlines()
    assert [line for line in lines if "_releases_unstaged{" in line] == [
        f'every_channel_netboot_releases_unstaged{{group="{group}"}} {count}'
        for group, count in (("_other", 1), ("lab", 0), ("runners", 2))
    ]


def test_what_is_not_in_force_is_a_figure() -> None:
    known = Remembered(
        nodes=NodeFigures(Fleet()),
        register=BootRegister(cast("StateStore", None)),
        rollouts={},
        store=Store(),
        left_out=2,
    )
    text = render(cast("HttpServer", Server()), remembered=known, is_reloaded=False)
    assert "\nevery_channel_netboot_last_reload_successful 0\n" in text
    assert "\nevery_channel_netboot_nodes_left_out 2\n" in text


def test_a_store_that_fails_is_down() -> None:
    server = cast("HttpServer", Server())
    assert "\nevery_channel_netboot_state_up 0\n" in render(server, store=Store(trouble="disk full"))


def test_what_is_not_known_of_tftp_has_no_sample() -> None:
    server = cast("HttpServer", Server())
    assert not re.search("tftp|proxy", render(server, tftp=None))
    text = render(server, tftp=TftpFigures(transfers=0, max_transfers=2))
    assert 'tftp_unanswered_total{reason="buffer"} 0\n' in text
    assert 'reason="share"} 0\n' not in text.partition("tftp_unanswered")[2]


def test_a_release_is_counted_by_its_systems_architectures() -> None:
    server = cast("HttpServer", Server())
    both, _ = make_systems({"a": KernelArchitecture.X86_64, "b": KernelArchitecture.AARCH64})
    for served, names in ((both, ("aarch64", "x86_64")), (make_release(), ("unknown",))):
        lines = render(server, tftp=None, release=served).splitlines()
        assert [line for line in lines if "_release_systems{" in line] == [
            f'every_channel_netboot_release_systems{{architecture="{name}"}} 1' for name in names
        ]
        assert "every_channel_netboot_release_staged 1" in lines
        assert "every_channel_netboot_release_staged_timestamp_seconds 1" in lines
