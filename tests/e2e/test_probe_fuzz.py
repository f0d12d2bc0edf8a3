"""The probe's reading of packets, fuzzed with coverage."""

from __future__ import annotations

from pathlib import Path

from support.fuzzing import fuzz
from support.pxe_messages import OTHER, PROXY, lease, menu, proxy

from ectools.netboot.probe.wire.dhcp import build_message
from ectools.netboot.probe.wire.frames import Datagram, build_frame

SCRIPT = b"#!ipxe\nset a ${next-server}\nchain http://${a}/x || goto b\n:b\nkernel k\ninitrd i\nboot\n"


def test_the_packet_parser_holds(tmp_path: Path) -> None:
    offers = (
        lease(siaddr=PROXY, file="ec-ipxe.efi", options={66: b"192.0.2.9", 6: PROXY.packed}),
        proxy(options=menu((0x8000, "one", PROXY), (0x8001, "two", OTHER), prompt=255)),
        proxy(vendor_class="HTTPClient", file="http://192.0.2.2/a.efi"),
        lease(options={52: b"\x03", 175: bytes((1, 1, 5, 0xB0, 1, 1))}),
    )
    messages = [build_message(offer.message) for offer in offers]
    frames = [
        build_frame(
            Datagram(source=PROXY, source_port=67, destination=OTHER, destination_port=68, payload=message)
        )
        for message in messages
    ]
    options = [message[240:].rstrip(b"\0") for message in messages]
    fuzz(
        "support.fuzz_probe:read_packets",
        packages=["ectools.netboot.probe", "dpkt"],
        seeds=[*messages, *frames, *options, SCRIPT + messages[0]],
        directory=tmp_path,
    )
