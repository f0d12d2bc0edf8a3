"""The storm from DHCPDISCOVER on, in a network of namespaces: a router with DHCP, a boot host, and the nodes.

The boot host is ``ectools netboot serve``, or bare dnsmasq with the configuration that it makes and nginx.
"""

from __future__ import annotations

import contextlib
import json
import os
import random
import secrets
import shutil
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ectools.netboot.boot_files.scripts.first_stage import build_autoexec
from ectools.netboot.boot_files.scripts.second_stage import build_netboot
from ectools.netboot.release.store import ReleaseStore
from ectools.netboot.settings.load import load_server_settings

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

HERE = Path(__file__).resolve().parent
BOOT, ROUTER = "10.77.0.2", "10.77.0.1"
NODES = "10.77.64.0/18"
PORT = 8080
SLOW_PAUSE = 0.01
NEIGHBOURS = 8192
BARE_HTTP = """
daemon off; worker_processes 1; worker_rlimit_nofile 8192; pid nginx.pid; error_log stderr error;
events {{ worker_connections 4096; }}
http {{
  sendfile on; access_log access.log; default_type application/octet-stream;
  client_body_temp_path t1; proxy_temp_path t2; fastcgi_temp_path t3; uwsgi_temp_path t4; scgi_temp_path t5;
  server {{ listen {address}:{port} backlog=4096; root {root}; }}
}}
"""


@dataclass(frozen=True, kw_only=True)
class Case:
    """``nodes`` arrive within ``arrival`` seconds, on fast or slow firmware."""

    nodes: int
    arrival: float
    slow: bool

    @property
    def title(self) -> str:
        when = f"within {self.arrival:g} s" if self.arrival else "at once"
        return f"{self.nodes} nodes {when}, {'slow' if self.slow else 'fast'} firmware"


CASES = tuple(
    Case(nodes=nodes, arrival=arrival, slow=slow)
    for slow in (False, True)
    for nodes, arrival in ((1000, 10.0), (2000, 10.0), (2000, 0.0))
)


def ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True)


@dataclass(frozen=True)
class Network:
    """Namespaces by their names: the router's has the switch."""

    tag: str

    def name(self, host: str) -> str:
        return f"storm-{host}-{self.tag}"

    def inside(self, host: str) -> list[str]:
        return ["ip", "netns", "exec", self.name(host)]


@contextlib.contextmanager
def build_network() -> Iterator[Network]:
    network = Network(secrets.token_hex(3))
    with contextlib.ExitStack() as stack:
        for host in ("router", "boot", "nodes"):
            ip("netns", "add", network.name(host))
            stack.callback(ip, "netns", "delete", network.name(host))
            ip("-netns", network.name(host), "link", "set", "lo", "up")
        router = ("-netns", network.name("router"))
        ip(*router, "link", "add", "br0", "type", "bridge")
        for host in ("boot", "nodes"):
            peer = ("peer", "name", "eth0", "netns", network.name(host))
            ip(*router, "link", "add", host, "txqueuelen", "20000", "type", "veth", *peer)
            ip(*router, "link", "set", host, "master", "br0", "up")
            ip("-netns", network.name(host), "link", "set", "eth0", "up")
        ip(*router, "link", "set", "br0", "up")
        ip(*router, "address", "add", f"{ROUTER}/16", "dev", "br0")
        ip("-netns", network.name("boot"), "address", "add", f"{BOOT}/16", "dev", "eth0")
        nodes = ("-netns", network.name("nodes"))
        ip(*nodes, "address", "add", "10.77.0.3/16", "dev", "eth0")
        # Every node's address is this host's, and ARP is answered for it.
        ip(*nodes, "route", "add", "local", NODES, "dev", "eth0", "table", "local")
        yield network


@contextlib.contextmanager
def kernel_settings(wanted: Mapping[str, int]) -> Iterator[None]:
    """This host's for the length of the block, as the module sets them; all network namespaces share them."""
    with contextlib.ExitStack() as stack:
        for name, value in wanted.items():
            file = Path("/proc/sys", name.replace(".", "/"))
            stack.callback(file.write_text, file.read_text())
            file.write_text(str(value))
        yield


@contextlib.contextmanager
def start(argv: list[str], log: Path, *, stdin: bytes | None = None) -> Iterator[subprocess.Popen[bytes]]:
    with log.open("wb") as file:
        process = subprocess.Popen(argv, stdout=file, stderr=file, stdin=subprocess.PIPE if stdin else None)
    try:
        if stdin and process.stdin:
            process.stdin.write(stdin)
            process.stdin.close()
        yield process
    finally:
        process.terminate()
        process.wait()


@contextlib.contextmanager
def start_dhcp(network: Network, directory: Path) -> Iterator[None]:
    """The router's DHCP server, which knows nothing of a boot host."""
    argv = [
        *network.inside("router"),
        *(
            "dnsmasq",
            "--keep-in-foreground",
            "--conf-file=/dev/null",
            "--port=0",
            "--user=root",
            "--pid-file=",
        ),
        *(
            "--interface=br0",
            "--bind-interfaces",
            "--no-ping",
            "--dhcp-lease-max=100000",
            "--dhcp-authoritative",
        ),
        *("--dhcp-range=10.77.64.1,10.77.127.254,255.255.0.0,1h", f"--dhcp-leasefile={directory}/leases"),
        *("--log-facility=-", "--quiet-dhcp"),
    ]
    (directory / "leases").unlink(missing_ok=True)
    with start(argv, directory / "router.log") as router:
        # It is not what is measured, and must not wait for the nodes, with whom it shares a processor.
        if (policy := os.sched_getscheduler(0)) in (os.SCHED_FIFO, os.SCHED_RR):
            priority = os.sched_getparam(0).sched_priority + 1
            os.sched_setscheduler(router.pid, policy, os.sched_param(priority))
        yield


def write_boot_host(directory: Path, *, first_stage_bytes: int, transfers: int) -> Path:
    """The settings file, and what TFTP serves: of the real binary its size alone matters."""
    state = directory / "state"
    raw = {
        "listenIP": BOOT,
        "hostname": BOOT,
        "httpPort": PORT,
        "stateDir": str(state),
        "proxyDhcp": {"enable": True, "subnet": "10.77.0.0/16"},
        "maxConnections": 4096,
        "tftp": {"maxTransfers": transfers},
        "fleet": {"listen": f"{BOOT}:9090"},
    }
    settings = directory / "netboot.json"
    settings.write_text(json.dumps(raw))
    tftp = state / "tftp"
    tftp.mkdir(exist_ok=True)
    (tftp / "ec-ipxe.efi").write_bytes(os.urandom(first_stage_bytes))
    loaded = load_server_settings(settings, environment={})
    (tftp / "autoexec.ipxe").write_text(build_autoexec(loaded, None))
    return settings


ECTOOLS = [sys.executable, "-m", "ectools.cli.main", "netboot", "serve"]


@contextlib.contextmanager
def start_ectools(network: Network, directory: Path, settings: Path) -> Iterator[None]:
    argv = [*network.inside("boot"), *ECTOOLS, "--config", str(settings), "--log-format", "json"]
    with start(argv, directory / "ectools.log"):
        wait_for_http(network, directory / "ectools.log")
        yield


@contextlib.contextmanager
def start_bare(network: Network, directory: Path, settings: Path) -> Iterator[None]:
    printed = subprocess.run(
        [*ECTOOLS, "--print-dnsmasq", "--config", str(settings)], capture_output=True, check=True
    )
    nginx = shutil.which("nginx", path=os.environ.get("PATH", "") + ":/usr/sbin")
    if nginx is None:
        sys.exit("nginx is not on PATH; it is the peer of this benchmark (Debian: apt install nginx-light)")
    text = BARE_HTTP.format(address=BOOT, port=PORT, root=directory / "peer")
    (directory / "whole.conf").write_text(text)
    inside = network.inside("boot")
    dnsmasq = [*inside, "dnsmasq", "--conf-file=-", "--user=root"]
    with (
        start(dnsmasq, directory / "dnsmasq.log", stdin=printed.stdout),
        start([*inside, nginx, "-p", str(directory), "-c", "whole.conf"], directory / "nginx.log"),
    ):
        wait_for_http(network, directory / "nginx.log")
        yield


def wait_for_http(network: Network, log: Path) -> None:
    ask = f"import urllib.request as u; u.urlopen('http://{BOOT}:{PORT}/netboot.ipxe', timeout=5).read()"
    for _ in range(100):
        done = subprocess.run(
            [*network.inside("nodes"), sys.executable, "-c", ask], capture_output=True, check=False
        )
        if done.returncode == 0:
            return
        time.sleep(0.1)
    sys.exit(f"the boot host does not answer:\n{log.read_text()[-3000:]}")


def run_nodes(network: Network, case: Case) -> dict[str, Any]:
    plan = {
        "count": case.nodes,
        "arrival": case.arrival,
        "pause": SLOW_PAUSE if case.slow else 0.0,
        "proxy": BOOT,
        "interface": "eth0",
        "http_port": PORT,
        "behaviours": ["healthy"],
    }
    argv = [*network.inside("nodes"), sys.executable, str(HERE / "boot_nodes.py"), json.dumps(plan)]
    found: dict[str, Any] = json.loads(subprocess.run(argv, stdout=subprocess.PIPE, check=True).stdout)
    return found


def measure_whole(
    directory: Path,
    cases: Sequence[Case],
    *,
    first_stage_bytes: int,
    buffer: int,
    transfers: int,
    processors: tuple[set[int], set[int]],
) -> None:
    """Each case on both, in new processes and in an order by chance; ``directory`` has the staged release."""
    settings = write_boot_host(directory, first_stage_bytes=first_stage_bytes, transfers=transfers)
    write_peer_script(directory, settings)
    servers, others = processors
    # The router's and the nodes' neighbours are in the same table here.
    neighbours = {f"net.ipv4.neigh.default.gc_thresh{level}": 4 * NEIGHBOURS for level in (2, 3)}
    wanted = {"net.core.rmem_default": buffer, **neighbours}
    for case in cases:
        found = {}
        for name, start_boot_host in random.sample([("ectools", start_ectools), ("bare", start_bare)], 2):
            with kernel_settings(wanted), build_network() as network:
                os.sched_setaffinity(0, others)
                with start_dhcp(network, directory):
                    os.sched_setaffinity(0, servers)
                    with start_boot_host(network, directory, settings):
                        os.sched_setaffinity(0, others)
                        found[name] = run_nodes(network, case)
            print(f"{case.title}: {name}: {json.dumps(found[name])}", file=sys.stderr, flush=True)
        report_case(case, found)


def report_case(case: Case, found: dict[str, dict[str, Any]]) -> None:
    ours, bare = found["ectools"], found["bare"]
    print(f"{case.title}: gave up {sum(ours['gave up'].values())}, bare {sum(bare['gave up'].values())}")
    for name, each in found.items():
        for what, counts in (("gave up", each["gave up"]), ("again", each["tries"])):
            for reason, count in counts.items():
                print(f"  {name}: {what}: {reason}: {count}")
        print(f"  {name}: nodes late by {each['late']:.2f} s at most, {each['cpu']:.2f} of a processor")
    for step in ("offered", "boot file", "booted"):
        if step in ours["steps"] and step in bare["steps"]:
            ratios = (
                f"{key} {ours['steps'][step][key] / bare['steps'][step][key]:.2f}"
                for key in ("p50", "p99", "last")
            )
            print(f"  {step:10} ours / bare: {', '.join(ratios)}")
    if "up" in ours["steps"]:
        # The peer knows no reports.
        after = (ours["steps"]["up"][key] - ours["steps"]["booted"][key] for key in ("p50", "p99", "last"))
        p50, p99, last = (f"{each:.2f} s" for each in after)
        print(f"  the report, after what it boots from: p50 {p50}, p99 {p99}, last {last}")


def write_peer_script(directory: Path, settings: Path) -> None:
    """nginx's root: the same files, and the script as the boot server makes it."""
    peer = directory / "peer"
    peer.mkdir(exist_ok=True)
    if not (peer / "releases").is_symlink():
        (peer / "releases").symlink_to("../state/releases")
    release = ReleaseStore(directory / "state").find_current()
    assert release is not None
    script = build_netboot(load_server_settings(settings, environment={}), release, None)
    (peer / "netboot.ipxe").write_text(script)
