"""A crowd of reads from one address, and what others get of TFTP meanwhile."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
from support.boot_http import wait_until
from support.boot_service import Service, boot_service, require_boot_services, write_settings
from support.lan import run
from support.needs import give_up, require_tool
from support.probe_lab import BOOT, CLIENT, ECTOOLS, ProbeLab, build_probe_lab, list_transfer_table

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.netns


# Sends reads and says so; `silent` says nothing more, `slow` acknowledges what it has every second.
CROWD = """
import resource, select, socket, sys, time
server, count, kind = sys.argv[1], int(sys.argv[2]), sys.argv[3]
resource.setrlimit(resource.RLIMIT_NOFILE, (count + 100, max(count + 100, 4096)))
poll, clients, last = select.epoll(), {}, {}
for number in range(count):
    client = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    client.setblocking(False)
    options = b"blksize\\x008\\0" if kind == "slow" else b""
    client.sendto(b"\\0\\1ec-ipxe.efi\\0octet\\0" + options, (server, 69))
    clients[client.fileno()] = client
    poll.register(client, select.EPOLLIN)
    if number % 20 == 0:
        time.sleep(0.002)  # what is lost before it arrives takes no transfer
print("sent", flush=True)
while True:
    end = time.monotonic() + 1
    while (left := end - time.monotonic()) > 0:
        for number, _ in poll.poll(left):
            data, address = clients[number].recvfrom(2000)
            last[number] = (data[2:4] if data[1] == 3 else b"\\0\\0", address)
    if kind == "slow":
        for number, (block, address) in last.items():
            clients[number].sendto(b"\\0\\4" + block, address)
"""

# A hundred clients, one after another, each from an address of its own: how many get the file.
OTHERS = """
import json, socket, sys, time
server, prefix = sys.argv[1:]
seconds, missed = [], 0
for last in range(100, 200):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
        client.bind((prefix + str(last), 0))
        client.settimeout(5)
        began = time.monotonic()
        client.sendto(b"\\0\\1ec-ipxe.efi\\0octet\\0blksize\\x001400\\0", (server, 69))
        try:
            while True:
                data, address = client.recvfrom(2000)
                client.sendto(b"\\0\\4" + (data[2:4] if data[1] == 3 else b"\\0\\0"), address)
                if data[1] == 3 and len(data) < 1404:
                    break
        except TimeoutError:
            missed += 1
            if missed > 3:
                break
            continue
        seconds.append(time.monotonic() - began)
print(json.dumps(sorted(seconds)))
"""


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[ProbeLab]:
    require_boot_services()
    require_tool("nft", "install nftables")
    directory = tmp_path / "lab"
    directory.mkdir()
    with build_probe_lab(directory) as built:
        inside = ["ip", "-netns", built.namespace("client")]
        for last in range(100, 200):
            run([*inside, "address", "add", f"192.168.77.{last}/24", "dev", "eth0"])
        yield built


def serve(lab: ProbeLab, directory: Path, *, transfers: int) -> Path:
    tftp = directory / "state" / "tftp"
    tftp.mkdir(parents=True)
    (tftp / "ec-ipxe.efi").write_bytes(os.urandom(50_000))
    (tftp / "autoexec.ipxe").write_bytes(b"#!ipxe\n")
    options = {"listenIP": BOOT, "hostname": BOOT, "httpPort": 8080}
    return write_settings(directory, **options, tftp={"maxTransfers": transfers})


def count_served(lab: ProbeLab) -> int:
    argv = [*lab.inside("client"), sys.executable, "-c", OTHERS, BOOT, "192.168.77."]
    return len(json.loads(subprocess.run(argv, capture_output=True, text=True, check=True).stdout))


def count_transfers(service: Service) -> int:
    """Descriptors of dnsmasq: some of its own, and one a transfer."""
    return len(os.listdir(f"/proc/{service.find_dnsmasq()}/fd"))


@pytest.mark.parametrize(
    ("transfers", "count", "kind"), [(256, 600, "silent"), (256, 600, "slow"), (4096, 5000, "silent")]
)
def test_one_address_shuts_nobody_out(
    lab: ProbeLab, tmp_path: Path, transfers: int, count: int, kind: str
) -> None:
    settings = serve(lab, tmp_path, transfers=transfers)
    with boot_service(settings, wrapper=lab.inside("boot")) as service:
        lab.start_program("other", CROWD, BOOT, str(count), kind)
        share = transfers // 8
        wait_until(lambda: count_transfers(service) >= share, "the crowd has its share")
        assert count_served(lab) >= 99
        # What had arrived before the kernel knew that there were too many is served too.
        assert count_transfers(service) < max(3 * share, share + 200)
        assert f"ct count over {share}" in list_transfer_table(lab)
        assert "counter refused {\n\t\tpackets 0 " not in list_transfer_table(lab)
        assert service.events("dnsmasq died") == []
    assert list_transfer_table(lab) == ""


# As many new connections as an address never makes by TFTP, and a download of many packets.
FETCH = """
import json, socket, sys
server, port, count = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
answered = 0
for number in range(count):
    with socket.create_connection((server, port), timeout=5) as client:
        client.settimeout(10)
        client.sendall(b"GET /ec-ipxe.efi HTTP/1.1\\r\\nHost: b\\r\\nConnection: close\\r\\n\\r\\n")
        size = 0
        while got := client.recv(1 << 20):
            size += len(got)
        answered += size > 50_000
print(answered)
"""


def test_http_is_none_of_the_tables_business(lab: ProbeLab, tmp_path: Path) -> None:
    """Neither its rate nor its connections count, not even those of an address that TFTP refuses."""
    settings = serve(lab, tmp_path, transfers=256)
    with boot_service(settings, wrapper=lab.inside("boot")) as service:
        lab.start_program("client", CROWD, BOOT, "600", "silent")
        wait_until(lambda: count_transfers(service) >= 32, "the crowd has its share")
        argv = [*lab.inside("client"), sys.executable, "-c", FETCH, BOOT, "8080", "300"]
        done = subprocess.run(argv, capture_output=True, text=True, check=False)
        assert (done.stdout, done.stderr) == ("300\n", "")


# Sends a packet from each of so many ports, to a host at the other end of a tunnel.
MANY_PORTS = """
import socket, sys, time
address, count = sys.argv[1], int(sys.argv[2])
for number in range(count):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as flow:
        flow.sendto(b"x", (address, 1024 + number))
    if number % 20 == 0:
        time.sleep(0.002)
"""


def count_vxlan(lab: ProbeLab) -> int:
    argv = [*lab.inside("client"), "nft", "--json", "list", "counters", "table", "ip", "seen"]
    said = subprocess.run(argv, capture_output=True, text=True, check=True).stdout
    (packets,) = [each["counter"]["packets"] for each in json.loads(said)["nftables"] if "counter" in each]
    return int(packets)


def test_a_tunnel_of_the_hosts_is_none_of_the_tables_business(lab: ProbeLab, tmp_path: Path) -> None:
    """VXLAN has a port for each flow that it carries, and what it carries for others is of no socket here."""
    boot, other = (["ip", "-netns", lab.namespace(name)] for name in ("boot", "other"))
    vxlan = ["type", "vxlan", "id", "5", "local", BOOT, "remote", CLIENT, "dstport", "4789"]
    made = subprocess.run([*boot, "link", "add", "vx0", *vxlan], capture_output=True, text=True, check=False)
    if made.returncode != 0:
        give_up(f"no VXLAN in this kernel: {made.stderr.strip()}")
    run([*boot, "link", "add", "br0", "type", "bridge"])
    run([*boot, "link", "add", "g0", "type", "veth", "peer", "name", "g0", "netns", lab.namespace("other")])
    for port in ("vx0", "g0"):
        run([*boot, "link", "set", port, "master", "br0", "up"])
    run([*boot, "link", "set", "br0", "up"])
    run([*other, "link", "set", "g0", "up"])
    run([*other, "address", "add", "198.51.100.1/24", "dev", "g0"])
    run([*other, "neighbour", "add", "198.51.100.2", "lladdr", "02:00:00:00:00:02", "dev", "g0"])
    count = "table ip seen {\n counter vxlan { }\n chain c {\n type filter hook input priority 0;\n"
    count += f" ip saddr {BOOT} udp dport 4789 counter name vxlan\n }}\n}}\n"
    nft = [*lab.inside("client"), "nft", "-f", "-"]
    subprocess.run(nft, input=count, text=True, check=True)
    with boot_service(serve(lab, tmp_path, transfers=256), wrapper=lab.inside("boot")):
        run([*lab.inside("other"), sys.executable, "-c", MANY_PORTS, "198.51.100.2", "400"])
        wait_until(lambda: count_vxlan(lab) > 300, "the tunnel has carried them")
        assert "ct count over 32" in list_transfer_table(lab)


@pytest.mark.parametrize("transfers", [2000, 10**12])
def test_the_units_share_is_of_the_transfers_that_there_can_be(
    lab: ProbeLab, tmp_path: Path, transfers: int
) -> None:
    settings = serve(lab, tmp_path, transfers=transfers)
    unit = ["prlimit", "--nofile=1128:1128", *ECTOOLS, "netboot", "dnsmasq", "--config", str(settings)]
    run([*lab.inside("boot"), *unit, "--load-limit", "nobody"])
    argv = [*lab.inside("boot"), "nft", "list", "table", "ip", "every_channel_tftp"]
    listed = subprocess.run(argv, capture_output=True, text=True, check=True).stdout
    assert "ct count over 125 " in listed


def test_where_the_table_cannot_be_loaded_tftp_is_served_and_it_is_said_once(
    lab: ProbeLab, tmp_path: Path
) -> None:
    settings = serve(lab, tmp_path, transfers=64)
    (tmp_path / "bin").mkdir()
    broken = tmp_path / "bin" / "nft"
    broken.write_text("#!/bin/sh\necho 'no nf_tables in this kernel' >&2\nexit 1\n")
    broken.chmod(0o755)
    env = {"PATH": f"{tmp_path}/bin:{os.environ['PATH']}"}
    with boot_service(settings, wrapper=lab.inside("boot"), env=env) as service:
        service.reload()
        (told,) = service.events("TFTP has no limit per address")
        assert "no nf_tables in this kernel" in told["reason"]
        assert count_served(lab) == 100
