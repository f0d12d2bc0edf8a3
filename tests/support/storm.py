"""The nodes of bench/storm for tests: its network of namespaces, and many nodes that boot and report."""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from support.boot_http import wait_until
from support.needs import require_root, require_tool

if TYPE_CHECKING:
    from collections.abc import Sequence

_BENCH = Path(__file__).resolve().parents[2] / "bench/storm"
sys.path.append(str(_BENCH))

from conversation import Behaviour, choose_behaviour  # noqa: E402 - of bench/storm
from node_loop import build_mac  # noqa: E402
from whole import (  # noqa: E402
    BOOT,
    PORT,
    Network,
    build_network,
    ip,
    start,
    start_dhcp,
    write_boot_host,
)

__all__ = ["BOOT", "Behaviour", "Network", "build_mac", "build_network", "choose_behaviour", "start"]
__all__ += ["start_dhcp", "write_boot_host"]

NODES_HOST = "10.77.0.3"
NODES_NETWORK = "10.77.64.0/18"


def require_storm() -> None:
    """What the network and its servers take."""
    require_root("makes network namespaces")
    require_tool("ip", "install iproute2")
    require_tool("dnsmasq", "install dnsmasq (Debian: dnsmasq-base)")
    require_tool("setpriv", "install util-linux")


def route_nodes(network: Network) -> None:
    """The nodes by one neighbour: a kernel knows 1,024, in all its namespaces together."""
    ip("-netns", network.name("boot"), "route", "add", NODES_NETWORK, "via", NODES_HOST, "dev", "eth0")


def run_nodes(
    network: Network, *, count: int, arrival: float, behaviours: Sequence[Behaviour]
) -> dict[str, Any]:
    """The figures of ``bench/storm/boot_nodes.py``, once all nodes have done what they do, or given up."""
    plan = {
        "count": count,
        "arrival": arrival,
        "pause": 0.0,
        "proxy": BOOT,
        "interface": "eth0",
        "http_port": PORT,
        "behaviours": list(behaviours),
    }
    argv = [*network.inside("nodes"), sys.executable, str(_BENCH / "boot_nodes.py"), json.dumps(plan)]
    found: dict[str, Any] = json.loads(subprocess.run(argv, stdout=subprocess.PIPE, check=True).stdout)
    return found


def wait_for_boot_host(network: Network, log: Path) -> None:
    """Until it answers, or its log says that it has stopped."""
    stopped = "the boot server has stopped"

    def answers() -> bool:
        assert stopped not in log.read_text(), log.read_text()
        with contextlib.suppress(subprocess.CalledProcessError):
            return "ok" in get_inside(network, f"http://{BOOT}:{PORT}/healthz")
        return False

    wait_until(answers, "the boot host answers")


def get_inside(network: Network, url: str) -> str:
    """The body of an answer, asked for on the boot host itself."""
    ask = f"import urllib.request as u; print(u.urlopen({url!r}, timeout=30).read().decode(), end='')"
    argv = [*network.inside("boot"), sys.executable, "-c", ask]
    return subprocess.run(argv, capture_output=True, text=True, check=True).stdout
