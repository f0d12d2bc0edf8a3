"""Where the probe runs and with which rights; and what a hostile server can do to it: nothing."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.boot_binaries import build_ipxe
from support.lan import run
from support.needs import require_tool
from support.probe_lab import BOOT, CLIENT, ECTOOLS, ROUTER, WEB, ProbeLab, build_probe_lab

from ectools.netboot.probe.faults import FaultCode

pytestmark = [pytest.mark.netns]

EFI = "ec-ipxe.efi"
SERVICE = f"pxe-service=tag:!ipxe,X86-64_EFI,EC,{EFI}"


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[ProbeLab]:
    with build_probe_lab(tmp_path) as lab:
        (lab.tftp / EFI).write_bytes(build_ipxe())
        (lab.tftp / "autoexec.ipxe").write_text(f"#!ipxe\nchain {WEB}/netboot.ipxe\n")
        (lab.web / "netboot.ipxe").write_text("#!ipxe\nkernel kernel\nboot\n")
        (lab.web / "kernel").write_bytes(bytes(0x202) + b"HdrS" + bytes(5000))
        yield lab


def start_all(lab: ProbeLab) -> None:
    lab.start_router()
    lab.start_proxy(SERVICE)
    lab.start_web()


def test_on_the_boot_host_itself_its_own_servers_are_heard(lab: ProbeLab) -> None:
    start_all(lab)
    probed = lab.probe("--arch", "7", name="boot")
    assert probed.status == 0, probed.report
    assert probed.outcome(7) == "boots"
    assert probed.report is not None
    assert any("runs on this host" in note for note in probed.report["notes"])


def test_without_an_address_offers_are_told_and_no_more(lab: ProbeLab) -> None:
    start_all(lab)
    run(["ip", "-netns", lab.namespace("client"), "address", "flush", "dev", "eth0"])
    probed = lab.probe("--arch", "7")
    assert (probed.status, probed.codes, probed.outcome(7)) == (0, set(), "unknown"), probed.report
    assert probed.report is not None
    assert probed.report["address"] is None
    assert any("--lease" in note for note in probed.report["notes"])
    servers = [offer["server"] for offer in probed.architecture(7)["steps"][0]["offers"]]
    assert sorted(servers) == [ROUTER, BOOT]
    assert lab.leased() == []


def test_a_lease_is_taken_when_asked_for_and_given_back(lab: ProbeLab) -> None:
    start_all(lab)
    inside = ["ip", "-netns", lab.namespace("client"), "-4", "-brief", "address", "show", "eth0"]
    run(["ip", "-netns", lab.namespace("client"), "address", "flush", "dev", "eth0"])
    probed = lab.probe("--arch", "7", "--lease")
    assert (probed.status, probed.outcome(7)) == (0, "boots"), probed.report
    assert probed.report is not None
    assert probed.report["address"].startswith("192.168.77.")
    assert "192.168.77" not in run(inside)
    assert lab.leased() == []


def test_as_another_machine(lab: ProbeLab) -> None:
    """What a router gives one machine alone is seen by asking as that machine."""
    mac = "02:00:00:12:34:56"
    lab.start_router(f"dhcp-host={mac},set:node", f"dhcp-boot=tag:node,{EFI},,{BOOT}")
    lab.start_tftp()
    lab.start_web()
    assert lab.probe("--arch", "7").codes == {FaultCode.NO_BOOT_ANSWER}
    probed = lab.probe("--arch", "7", "--mac", mac)
    assert (probed.status, probed.outcome(7)) == (0, "boots"), probed.report
    assert probed.report is not None
    assert probed.report["mac"] == mac


def test_no_file_is_asked_for_with_no_fetch(lab: ProbeLab) -> None:
    lab.start_router(f"dhcp-boot=nothing.efi,,{BOOT}")
    probed = lab.probe("--arch", "7", "--no-fetch")
    assert (probed.status, probed.outcome(7)) == (0, "unknown")
    assert probed.architecture(7)["steps"][0]["takes"]["uri"] == f"tftp://{BOOT}/nothing.efi"


def test_a_firewall_on_the_probing_host_hides_nothing(lab: ProbeLab) -> None:
    """TFTP answers from a port that no rule knows."""
    start_all(lab)
    nft = require_tool("nft", "install nftables")
    run([*lab.inside("client"), nft, "add table inet t"])
    run([*lab.inside("client"), nft, "add chain inet t c { type filter hook input priority 0; }"])
    run([*lab.inside("client"), nft, "add rule inet t c meta l4proto udp drop"])
    probed = lab.probe("--arch", "7")
    assert (probed.status, probed.outcome(7)) == (0, "boots"), probed.report


def test_for_people(lab: ProbeLab) -> None:
    start_all(lab)
    probed = lab.probe("--arch", "7", json_=False)
    lines = probed.errors.splitlines()
    assert lines[0].startswith(f"eth0 ({CLIENT}/24), as ")
    assert " 7 x64 UEFI: boots" in lines
    assert f"     port 4011 of {BOOT}: siaddr {BOOT}, file {EFI}" in lines
    assert lines[-1] == "no fault found"
    assert "\x1b" not in probed.errors


def test_without_the_right_to_send_frames_it_says_so(lab: ProbeLab) -> None:
    setpriv = require_tool("setpriv", "install util-linux")
    drop = ["--bounding-set=-net_raw", "--inh-caps=-net_raw", "--no-new-privs", "--reuid=65534"]
    argv = [*lab.inside("client"), setpriv, *drop, "--clear-groups", *ECTOOLS, "netboot", "probe"]
    done = subprocess.run(
        [*argv, "--interface", "eth0"], capture_output=True, text=True, check=False, timeout=60
    )
    assert done.returncode == 1, done.stderr
    assert "Traceback" not in done.stderr
    assert "eth0: Operation not permitted" in done.stderr
    assert "CAP_NET_RAW" in done.stderr


@pytest.mark.parametrize(
    ("arguments", "status", "words"),
    [
        (["--interface", "eth9"], 2, "there is no Ethernet interface eth9"),
        (["--arch", "8"], 2, "8: expected one of 0, 6, 7"),
        (["--mac", "eth0"], 2, "02:00:00:12:34:56"),
        (["--mac", "01:00:00:00:00:00"], 2, "expected the address of one machine"),
        (["--timeout", "0"], 2, "0.5<=x<=120"),
        (["--timeout", "nan"], 2, "nan is no time in seconds"),
        (["--no-fetch", "--verify"], 2, "--no-fetch goes with neither"),
    ],
)
def test_wrong_usage(lab: ProbeLab, arguments: list[str], status: int, words: str) -> None:
    probed = lab.probe(*arguments)
    assert probed.status == status
    assert words in probed.errors


def test_an_interface_that_is_down(lab: ProbeLab) -> None:
    run(["ip", "-netns", lab.namespace("client"), "link", "set", "eth0", "down"])
    probed = lab.probe()
    assert probed.status == 1
    assert "eth0: the interface is down" in probed.errors


HOSTILE = """
import os, random, socket, struct
server = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
server.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
server.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, b"eth0")
server.bind(("", 67))
print("ready", flush=True)
dice = random.Random(7)
while True:
    asked, _ = server.recvfrom(2048)
    head = bytearray(asked[:240])
    head[0] = 2
    head[16:20] = bytes((192, 168, 77, 50))
    head[20:24] = bytes((192, 168, 77, 2))
    head[108:236] = dice.randbytes(128)
    offers = [bytes((53, 1, 2)) + tail for tail in (
        b"",
        bytes((60, 9)) + b"PXEClient" + bytes((43, 250, 6, 200)),
        bytes((60, 9)) + b"PXEClient" + bytes((43, 4, 9, 2, 255, 255)) + bytes((67, 255)),
        bytes((52, 1, 3)) + dice.randbytes(60),
        bytes((67, 6)) + b"\\x1b[2J\\x07\\x00" + bytes((66, 4)) + b"\\xff\\xfe\\xfd\\xfc",
        dice.randbytes(300),
    )]
    for options in offers:
        server.sendto(bytes(head) + options, ("255.255.255.255", 68))
    server.sendto(bytes(head[:100]), ("255.255.255.255", 68))
    server.sendto(b"", ("255.255.255.255", 68))
"""


@pytest.mark.parametrize("json_", [True, False])
def test_a_hostile_server_gives_notes_and_no_traceback(lab: ProbeLab, json_: bool) -> None:
    lab.start_program("boot", HOSTILE)
    probed = lab.probe("--arch", "7", "--arch", "0", "--arch", "16", json_=json_)
    assert probed.status in (0, 1)
    if json_:
        assert probed.report is not None
        notes = [note for each in probed.report["architectures"] for note in each["notes"]]
        assert any("sent a malformed packet" in note for note in notes), notes
    else:
        assert "malformed packet" in probed.errors
        assert "\x1b" not in probed.errors
        assert "\x07" not in probed.errors
