"""A real guest follows a signed channel by kexec, to the next release and back, past the real boot server.

It is loaded as firmware would load it once, and ends at a reboot: so each release after the first one is
started by the one before. It has no systemd (support.kexec_guest).
"""

from __future__ import annotations

import json
import re
import time
from pathlib import Path

import pytest
from support.boot_http import Client
from support.boot_service import boot_service, require_boot_services, write_fleet_settings
from support.kexec_guest import GATEWAY, boot_guest, build_output, find_payload
from support.needs import require_tool
from support.promoted import FORM, Promoted
from support.served_rollout import NODES, find_mac

from ectools.netboot.publishing.provenance import BuildSource
from ectools.netboot.publishing.publication import pack_publication
from ectools.netboot.release.archive_writer import Compression
from ectools.netboot.release.pack import SigningKey

pytestmark = [pytest.mark.qemu, pytest.mark.full, pytest.mark.timeout(1800)]

BOOT_SECONDS = 500
TAGS = {"a": "boot-v2026.03.02", "b": "boot-v2026.03.09"}


@pytest.fixture(autouse=True)
def _needs() -> None:
    require_boot_services()
    require_tool("qemu-system-x86_64", "install qemu-system-x86")


def publish(place: Promoted, mark: str) -> Path:
    """A release that is signed, in the depot; its output."""
    store_path = f"/nix/store/{mark * 32}-runs-{mark}"
    key = (place.home / "key.pub").read_bytes()
    output = build_output(
        place.home / f"guest-{mark}", find_payload(), store_path=store_path, key=key, mark=mark
    )
    packed = place.home / f"packed-{mark}"
    packed.mkdir()
    publication = pack_publication(
        [output],
        packed,
        tag=TAGS[mark],
        compression=Compression.GZIP,
        key=SigningKey(format=FORM, file=place.home / "key"),
        source=BuildSource(),
    )
    assert place.open().publish(publication)
    return output


def test_to_the_next_release_and_back(tmp_path: Path) -> None:
    depot = tmp_path / "depot"
    depot.mkdir()
    place = Promoted(home=tmp_path, place=str(depot), source=str(depot), now=time.time() - 86400)
    outputs = {mark: publish(place, mark) for mark in TAGS}
    node = NODES[0]
    nodes = {node: {"group": "runners", "match": {"mac": [find_mac(node)]}}}
    fleet = {"groups": {"runners": {"channel": "stable", "healthyWithin": BOOT_SECONDS}}, "nodes": nodes}
    settings_file = write_fleet_settings(tmp_path, fleet)
    raw = json.loads(settings_file.read_text())
    # The address by which the guest's network leads to the server; it listens on its own.
    raw["hostname"] = GATEWAY
    key = {"format": FORM.value, "publicKeyFile": str(tmp_path / "key.pub")}
    raw["release"] = {"source": str(depot), "channel": "stable", "signature": key}
    settings_file.write_text(json.dumps(raw))
    place.promote(TAGS["a"], "stable")
    ids = {"a": place.stage().release.id}
    console = tmp_path / "console"
    console.touch()
    with boot_service(settings_file) as service:
        script = service.get(f"/netboot.ipxe?mac={find_mac(node)}&arch=x86_64").body.decode()
        (line,) = re.findall(r"(?m)^imgargs \S+ (.*)$", script)
        arguments = [each for each in line.split() if each != "${cmdline}"]

        def wait_until_healthy(mark: str, count: int) -> list[dict[str, object]]:
            """Until so many boots are known, the newest of which is healthy, and of that release."""
            end = time.monotonic() + BOOT_SECONDS
            while True:
                assert time.monotonic() < end, console.read_text()[-3000:]
                try:
                    with Client(watch_port, address=watch_address) as client:
                        answer = client.request(f"/api/v1/nodes/{node}/boots", {"Connection": "close"})
                except TimeoutError:
                    continue  # a machine that emulates others may be slow to answer, and is asked again
                found = json.loads(answer.body)["boots"]
                newest = found[0]
                if len(found) == count and newest["state"] == "healthy":
                    assert newest["release"]["id"] == ids[mark]
                    return found
                assert newest["state"] in ("booting", "healthy"), (newest, console.read_text()[-3000:])
                assert time.monotonic() < end, (newest, console.read_text()[-3000:])
                assert guest.poll() is None, console.read_text()[-3000:]
                time.sleep(0.5)

        watch_address, _, port = raw["fleet"]["listen"].rpartition(":")
        watch_port = int(port)
        with boot_guest(
            console, outputs["a"], arguments, mac=find_mac(node), server=(service.address, service.port)
        ) as guest:
            first = wait_until_healthy("a", 1)
            place.promote(TAGS["b"], "stable")
            ids["b"] = place.stage().release.id
            second = wait_until_healthy("b", 2)
            # An older one: the publisher says that it may be.
            place.promote(TAGS["a"], "stable", withdrawn=[TAGS["b"]])
            assert place.stage().release.id == ids["a"]
            third = wait_until_healthy("a", 3)
    assert [each["after"] for each in third] == [second[0]["id"], first[0]["id"], None]
    for boot in third[:2]:
        assert set(boot["stages"]) == {"script", "loaded", "up"}
    said = console.read_text()
    assert re.findall(r"EC-GUEST-UP (\w)", said) == ["a", "b", "a"]
    assert "every_channel.channel_counter=" in said
    assert "every_channel.release_counter=" in said
