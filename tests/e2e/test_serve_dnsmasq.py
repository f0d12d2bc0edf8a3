"""The boot server's dnsmasq on a network with a router: what clients are told, asked as they ask."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from support.boot_binaries import ARM64, IA32, UNDIONLY, build_ipxe
from support.boot_http import wait_until
from support.boot_service import Service, boot_service, require_boot_services
from support.probe_lab import BOOT, ROUTER, Probed, ProbeLab, build_probe_lab
from support.staged import make_release, put_release

from ectools.netboot.boot_files.scripts.first_stage import build_autoexec
from ectools.netboot.settings.load import load_netboot_settings

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

pytestmark = pytest.mark.netns

NETWORK, FAR_NETWORK = "192.168.77.0/24", "192.168.88.0/24"
KERNEL = b"a kernel " * 1000
NOBODY = 65534
AS_NOBODY = ["setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups"]


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[ProbeLab]:
    require_boot_services()
    with build_probe_lab(tmp_path) as built:
        yield built


@pytest.fixture
def home() -> Iterator[Path]:
    """A directory that belongs to nobody, in the sense of the user, and that it reaches."""
    directory = Path(tempfile.mkdtemp(prefix="ectools-serve-"))
    yield directory
    shutil.rmtree(directory)


def prepare(home: Path, *binaries: str, **options: Any) -> Path:
    """A state directory with a release and boot files, and its settings, all of them nobody's."""
    state = home / "state"
    raw = {"listenIP": BOOT, "hostname": BOOT, "httpPort": 8080, "stateDir": str(state), **options}
    (home / "netboot.json").write_text(json.dumps(raw))
    contents = {
        "undionly.kpxe": UNDIONLY,
        "ec-ipxe-ia32.efi": build_ipxe(machine=IA32),
        "ec-ipxe.efi": build_ipxe(),
        "ec-ipxe-arm64.efi": build_ipxe(machine=ARM64),
    }
    files = {"bzImage": KERNEL, "initrd": b"initrd"}
    put_release(state, make_release(files), files)
    (state / "tftp").mkdir()
    for name in binaries or contents:
        (state / "tftp" / name).write_bytes(contents[name])
    script = build_autoexec(load_netboot_settings(home / "netboot.json"), None)
    (state / "tftp" / "autoexec.ipxe").write_text(script)
    for directory, _, names in os.walk(home):
        for path in (directory, *(os.path.join(directory, name) for name in names)):
            os.chown(path, NOBODY, NOBODY)
            os.chmod(path, 0o750 if os.path.isdir(path) else 0o640)
    return home / "netboot.json"


@contextlib.contextmanager
def serve(lab: ProbeLab, settings: Path, *wrapper: str, arguments: Sequence[str] = ()) -> Iterator[Service]:
    with boot_service(settings, wrapper=[*lab.inside("boot"), *wrapper], arguments=arguments) as service:
        yield service


def ambient(*capabilities: str) -> Sequence[str]:
    """As nobody with these capabilities and no others: what the unit has."""
    granted = ",".join(f"+{capability}" for capability in capabilities)
    return [*AS_NOBODY, f"--inh-caps=-all,{granted}", f"--ambient-caps=-all,{granted}"]


def test_proxy_dhcp_serves_every_architecture_that_has_a_binary(lab: ProbeLab, home: Path) -> None:
    settings = prepare(home, proxyDhcp={"enable": True, "subnet": NETWORK})
    lab.start_router()
    with serve(lab, settings) as service:
        probed = lab.probe()
        assert (probed.status, probed.codes) == (0, set()), probed.report
        assert {probed.outcome(number) for number in (0, 6, 7, 9, 11, 16, 19)} == {"boots"}
        assert service.events("ProxyDHCP has no boot binary") == []
        named = {event["file"] for event in service.events("ProxyDHCP has named a boot file")}
        assert f"http://{BOOT}:8080/autoexec.ipxe" in named
        assert f"http://{BOOT}:8080/ec-ipxe.efi" in named
        assert {"ec-ipxe.efi", "ec-ipxe-ia32.efi", "ec-ipxe-arm64.efi"} <= named


def test_machines_of_a_group_get_another_binary_and_a_new_one_does_without_a_new_dnsmasq(
    lab: ProbeLab, home: Path
) -> None:
    first, second, third, other = (f"02:00:00:00:00:0{number}" for number in (1, 2, 3, 4))
    fleet: dict[str, Any] = {
        "groups": {"small": {"bootBinary": "snponly"}, "all": {"bootBinary": "ipxe"}},
        "nodes": {
            "first": {"group": "small", "match": {"mac": [first]}},
            "other": {"group": "all", "match": {"mac": [other]}},
        },
    }
    settings = prepare(home, proxyDhcp={"enable": True, "subnet": NETWORK}, fleet=fleet)
    binary = home / "state/tftp/ec-stock-snponly.efi"
    binary.write_bytes(build_ipxe())
    os.chown(binary, NOBODY, NOBODY)
    lab.start_router()

    def find_name(probed: Probed, number: int) -> str:
        (step,) = probed.architecture(number)["steps"]
        return str(step["takes"]["uri"]).rpartition("/")[2]

    def find_file(mac: str) -> dict[int, str]:
        probed = lab.probe("--mac", mac, "--arch", "7", "--arch", "16", "--arch", "11", "--no-fetch")
        return {number: find_name(probed, number) for number in (7, 16, 11)}

    small, large = "ec-stock-snponly.efi", "ec-ipxe.efi"
    arm64 = {11: "ec-ipxe-arm64.efi"}
    sock = home / "control.sock"
    with serve(lab, settings, arguments=["--control-socket", str(sock)]) as service:
        assert find_file(first) == {7: small, 16: small, **arm64}
        assert find_file(second) == find_file(other) == {7: large, 16: large, **arm64}
        fleet["nodes"]["second"] = {"group": "small", "match": {"mac": [second]}}
        service.change(fleet=fleet)
        service.reload()
        wait_until(lambda: find_file(second) == {7: small, 16: small, **arm64}, "dnsmasq has read it")
        added = ["add", "third", "--group", "small", "--mac", third, "--socket", str(sock)]
        subprocess.run([sys.executable, "-m", "ectools.cli.main", "fleet", *added], check=True)
        wait_until(lambda: find_file(third) == {7: small, 16: small, **arm64}, "dnsmasq has read it again")
        assert len(service.events("dnsmasq serves")) == 1
        assert [event for event in service.log() if event["event"] == "ProxyDHCP"] == []


def test_a_network_behind_a_relay_is_answered_where_it_is_listed(lab: ProbeLab, home: Path) -> None:
    lab.move_client_behind_router()
    proxy = {"enable": True, "subnet": NETWORK, "subnets": [FAR_NETWORK]}
    settings = prepare(home, "undionly.kpxe", "ec-ipxe.efi", proxyDhcp=proxy)
    lab.start_router()
    lab.start_relay(ROUTER, BOOT)
    with serve(lab, settings) as service:
        probed = lab.probe("--arch", "0", "--arch", "7", "--arch", "16")
        assert {probed.outcome(number) for number in (0, 7, 16)} == {"boots"}, probed.report
        service.change(proxyDhcp={**proxy, "subnets": []})
        service.reload()
        service.wait_for_dnsmasq(2)
        assert lab.probe("--arch", "7").outcome(7) == "not offered"


def test_a_probe_is_no_machine_that_does_not_boot(lab: ProbeLab, home: Path) -> None:
    """It asks as machines of all kinds, and leaves files before their end."""
    settings = prepare(home, "undionly.kpxe", "ec-ipxe.efi", proxyDhcp={"enable": True, "subnet": NETWORK})
    directory = home / "state/tftp/x86_64"
    directory.mkdir()
    (directory / "large.efi").write_bytes(bytes(5 << 20))
    directory.chmod(0o755)
    # A BIOS's iPXE takes the router's file.
    bios = "dhcp-match=set:bios,option:client-arch,0"
    lab.start_router(bios, f"dhcp-boot=tag:bios,x86_64/large.efi,,{BOOT}")
    with serve(lab, settings) as service:
        probed = lab.probe("--verify")
        assert probed.outcome(11) == "not offered"
        loads = [load for step in probed.architecture(0)["steps"] for load in step["loads"]]
        assert loads[-1]["uri"] == f"tftp://{BOOT}/x86_64/large.efi", loads
        assert service.events("has no boot binary")
        assert [line for line in service.log() if line["level"] not in ("debug", "info")] == []
        assert service.events("a node has") == []
        files = {event["file"] for event in service.events("TFTP has sent a file")}
        assert {"ec-ipxe.efi", "undionly.kpxe", "autoexec.ipxe"} <= files


def test_with_the_capabilities_of_the_unit_and_no_others(lab: ProbeLab, home: Path) -> None:
    settings = prepare(home, "undionly.kpxe", "ec-ipxe.efi", proxyDhcp={"enable": True, "subnet": NETWORK})
    lab.start_router()
    with serve(lab, settings, *ambient("net_bind_service", "net_admin")) as service:
        probed = lab.probe("--arch", "0", "--arch", "7", "--arch", "11")
        assert {probed.outcome(number) for number in (0, 7)} == {"boots"}, probed.report
        assert probed.outcome(11) != "boots"
        assert {event["vendor_class"] for event in service.events("has no boot binary")} == {
            "PXEClient:Arch:00011:UNDI:003016"
        }


def test_network_boot_of_the_router_takes_one_capability_and_no_dhcp(lab: ProbeLab, home: Path) -> None:
    settings = prepare(home)
    lab.start_router(f"dhcp-boot=ec-ipxe.efi,,{BOOT}")
    with serve(lab, settings, *ambient("net_bind_service")) as service:
        probed = lab.probe("--arch", "7")
        assert (probed.status, probed.outcome(7)) == (0, "boots"), probed.report
        assert [event for event in service.log() if event["event"] == "ProxyDHCP"] == []
        sent = {event["file"] for event in service.events("TFTP has sent a file")}
        assert "autoexec.ipxe" in sent


def test_a_proxy_without_its_capability_says_which_one(lab: ProbeLab, home: Path) -> None:
    settings = prepare(home, proxyDhcp={"enable": True, "subnet": NETWORK})
    with pytest.raises(AssertionError) as caught:
        with serve(lab, settings, *ambient("net_bind_service")):
            pass
    assert "process is missing required capability NET_ADMIN" in str(caught.value)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("tftp", "tftp: cannot be read: Permission denied"),
        ("tftp/autoexec.ipxe", "autoexec.ipxe cannot be read by this user"),
    ],
)
def test_boot_files_of_somebody_else_are_refused(lab: ProbeLab, home: Path, name: str, words: str) -> None:
    """A binary without its script loads itself for ever, in the router's mode too."""
    settings = prepare(home)
    os.chown(home / "state" / name, 0, 0)
    with pytest.raises(AssertionError) as caught:
        with serve(lab, settings, *ambient("net_bind_service")):
            pass
    assert words in str(caught.value)


def test_what_is_offered_changes_with_a_reload(lab: ProbeLab, home: Path) -> None:
    settings = prepare(home, "undionly.kpxe", proxyDhcp={"enable": True, "subnet": NETWORK})
    lab.start_router()
    with serve(lab, settings) as service:
        assert lab.probe("--arch", "7").outcome(7) != "boots"
        (home / "state" / "tftp" / "ec-ipxe.efi").write_bytes(build_ipxe())
        service.reload()
        service.wait_for_dnsmasq(2)
        assert lab.probe("--arch", "7").outcome(7) == "boots"


def test_a_reload_to_proxy_dhcp_leaves_tftp_alone_where_its_port_is_taken(lab: ProbeLab, home: Path) -> None:
    settings = prepare(home)
    with serve(lab, settings) as service:
        bound = "socket.socket(type=socket.SOCK_DGRAM); s.bind(('', 67))"
        source = f"import signal, socket; s = {bound}; print(1, flush=True); signal.pause()"
        lab.start_program("boot", source)
        service.change(proxyDhcp={"enable": True, "subnet": NETWORK})
        service.reload()
        reason = service.events("the old ones stay in force")[0]["reason"]
        assert "ProxyDHCP cannot have UDP *:67: Address already in use" in reason
        assert len(service.events("dnsmasq serves")) == 1
        assert service.events("dnsmasq died") == []


def test_a_rack_that_is_switched_on_gets_its_files_over_tftp(lab: ProbeLab, home: Path) -> None:
    """A hundred clients at once, of whom nobody is turned away."""
    settings = prepare(home)
    with serve(lab, settings) as service:
        script = (
            "import socket, sys\n"
            "clients = []\n"
            "for _ in range(100):\n"
            "    client = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)\n"
            "    client.settimeout(60)\n"
            f"    client.sendto(b'\\0\\1ec-ipxe.efi\\0octet\\0', ('{BOOT}', 69))\n"
            "    clients.append(client)\n"
            "for client in clients:\n"
            "    data, server = client.recvfrom(2048)\n"
            "    assert data[:4] == b'\\0\\3\\0\\1', data[:40]\n"
            "    client.sendto(b'\\0\\4\\0\\1', server)\n"
            "print('all')\n"
        )
        argv = [*lab.inside("client"), "python3", "-c", script]
        assert subprocess.run(argv, capture_output=True, text=True, check=True).stdout == "all\n"
        wait_until(lambda: len(service.events("TFTP has sent a file")) == 100, "all are served")
