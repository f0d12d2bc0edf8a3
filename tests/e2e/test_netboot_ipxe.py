"""The boot scripts on real iPXEs of three ages, and the age check on the real files."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import pytest
from support.boot_binaries import find_ipxe, find_signed_loaders
from support.guests import require_qemu
from support.netboot_clients import Client, Firmware, Plug, start_client
from support.recording_http import RecordingServer
from support.staged import make_release

from ectools.demo.payload import UP_MARK, build_payload
from ectools.errors import InputError
from ectools.ipxe.urls import FAILURE_MARK
from ectools.netboot.boot_files.binary import Autoexec, inspect_binary
from ectools.netboot.boot_files.choose import BinaryError, choose_binaries, find_stock
from ectools.netboot.boot_files.scripts.fetching import build_pause, join_lines, start_rounds
from ectools.netboot.boot_files.scripts.first_stage import build_autoexec
from ectools.netboot.boot_files.scripts.second_stage import build_netboot
from ectools.netboot.protocols import Binary, StockBinary
from ectools.netboot.settings.load import load_netboot_settings
from ectools.netboot.settings.model import StockIpxe

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from ectools.netboot.release.manifest import Release
    from ectools.netboot.settings.model import NetbootSettings

HOST = "10.0.2.2"
MARK = "ages"
# no_timer_check: on a loaded machine, an emulated timer fails the kernel's test of it.
ARGUMENTS = ("console=ttyS0", "panic=-1", "no_timer_check", f"ec.mark={MARK}", "initrd=initrd")
UP = f"{UP_MARK} {MARK}"
TOKEN = "t0ken"
NOBODY = f"http://{HOST}:9"
"""Where nothing listens."""

qemu = pytest.mark.qemu


@pytest.mark.parametrize(
    ("suite", "file", "version", "autoexec"),
    [
        ("bookworm", "snponly.efi", "1.0.0+git-2019", Autoexec.NOWHERE),
        ("trixie", "snponly.efi", "1.21.1+git2025", Autoexec.TFTP_AND_HTTP),
        ("trixie", "ipxe-amd64.efi", "1.21.1+git2025", Autoexec.TFTP_AND_HTTP),
        ("forky", "ipxe-amd64.efi", "2.", Autoexec.TFTP_AND_HTTP),
    ],
)
def test_the_facts_of_real_binaries(suite: str, file: str, version: str, autoexec: Autoexec) -> None:
    facts = inspect_binary((find_ipxe(suite) / "usr/lib/ipxe" / file).read_bytes())
    assert facts.version is not None
    assert facts.version.startswith(version)
    assert (facts.machine, facts.autoexec, facts.embedded) == (0x8664, autoexec, None)


def without_identity(target: str) -> str:
    """What was asked for, without what the machine says of itself."""
    path, _, query = target.partition("?")
    token = [word for word in query.split("&") if word.startswith("token=")]
    return "?".join([path, *token])


def test_the_facts_of_a_real_shim_and_of_what_it_starts() -> None:
    shim, grub = (inspect_binary(file.read_bytes()) for file in find_signed_loaders())
    assert shim.shim is not None
    assert (shim.machine, shim.is_ipxe) == (0x8664, False)
    assert shim.title == f"shim {shim.shim.version}"
    assert shim.shim.find_second_stage("x86_64-sb/shimx64.efi") == "x86_64-sb/grubx64.efi"
    assert (grub.machine, grub.is_ipxe, grub.shim) == (0x8664, False, None)


def test_the_stock_binaries_of_a_release_are_taken_or_refused_by_their_age() -> None:
    def choose(suite: str) -> dict[str, bytes]:
        settings = load_netboot_settings(None, environment={})
        package = find_ipxe(suite) / "usr/lib/ipxe"
        files = {Binary.BIOS: package / "undionly.kpxe"}
        ipxe = replace(settings.ipxe, x86_64=StockIpxe(package=package), files=files)
        return choose_binaries(replace(settings, ipxe=ipxe))

    with pytest.raises(BinaryError, match=r"iPXE 1\.0\.0\+git-2019\S+ does not look for autoexec\.ipxe"):
        choose("bookworm")
    assert set(choose("trixie")) == {"ec-ipxe.efi", "undionly.kpxe"}


def test_a_local_one_is_taken_or_refused_by_its_age_too() -> None:
    def choose(suite: str, **flags: Any) -> dict[str, bytes]:
        file = find_ipxe(suite) / "usr/lib/ipxe/snponly.efi"
        return choose_binaries(settings_of(80, ipxe__strategy="local", ipxe__localFile=str(file), **flags))

    with pytest.raises(InputError, match=r"iPXE 1\.0\.0\+git-2019\S+ has no script inside"):
        choose("bookworm")
    assert choose("bookworm", ipxe__force=True).keys() == choose("trixie").keys()


@dataclass(frozen=True)
class Site:
    """A release that boots, below ``root`` as a boot server shows it; ``odd``: with one bit changed."""

    root: Path
    odd: Path
    release: Release


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Site:
    require_qemu()
    payload = build_payload()
    files = {"bzImage": payload.kernel.read_bytes(), "initrd": payload.initrd.read_bytes()}
    release = make_release(files, arguments=ARGUMENTS)
    directory = tmp_path_factory.mktemp("site")
    for name in ("root", "odd"):
        inner = directory / name / "releases" / release.id
        inner.mkdir(parents=True)
        for file, data in files.items():
            (inner / file).write_bytes(data)
    kernel = bytearray(files["bzImage"])
    kernel[-1] ^= 1
    (directory / "odd/releases" / release.id / "bzImage").write_bytes(kernel)
    return Site(directory / "root", directory / "odd", release)


def settings_of(port: int, **flags: Any) -> NetbootSettings:
    given = {
        "hostname": HOST,
        "httpPort": port,
        "ipxe.attempts": 2,
        "ipxe.onFailure": "reboot",
        "ipxe.rebootSeconds": 0,
        **{name.replace("__", "."): value for name, value in flags.items()},
    }
    return load_netboot_settings(None, flags=given, environment={})


@contextlib.contextmanager
def booted(
    directory: Path,
    firmware: Firmware,
    settings: NetbootSettings,
    *,
    suite: str = "bookworm",
    binary: StockBinary = StockBinary.IPXE,
    script: str | None = None,
) -> Iterator[Client]:
    """A client of QEMU's own TFTP server. SeaBIOS's ROM is given the script, OVMF the suite's iPXE."""
    tftp = directory / "tftp"
    tftp.mkdir()
    (tftp / "autoexec.ipxe").write_text(script or build_autoexec(settings, TOKEN))
    boot_file = "autoexec.ipxe"
    if firmware is not Firmware.SEABIOS:
        boot_file = "ec-ipxe.efi"
        found = find_stock(find_ipxe(suite) / "usr/lib/ipxe", binary)
        (tftp / boot_file).write_bytes(found.data)
    plug = Plug(netdev=f"user,tftp={tftp},bootfile={boot_file}")
    with start_client(plug, firmware, directory) as client:
        yield client


@qemu
def test_an_ipxe_of_2025_boots_what_it_cannot_verify_and_says_so(tmp_path: Path, site: Site) -> None:
    """And sends the token in the query, where its console does not show it."""
    with RecordingServer(site.odd) as server:
        settings = settings_of(server.port, protectedFiles=["netboot.ipxe", "initrd"])
        (site.odd / "netboot.ipxe").write_text(build_netboot(settings, site.release, TOKEN))
        with booted(tmp_path, Firmware.OVMF_PXE, settings, suite="trixie") as client:
            client.wait_for(UP)
    base = f"/releases/{site.release.id}"
    assert list(map(without_identity, server.targets)) == [
        f"/netboot.ipxe?token={TOKEN}",
        f"{base}/bzImage",
        f"{base}/initrd?token={TOKEN}",
    ]
    assert server.tokens == [None, None, None]
    assert client.console.count("this iPXE has no sha256sum --set; what it boots is not verified") == 1
    assert TOKEN not in client.console


def test_one_without_drivers_is_less_than_a_third_as_large() -> None:
    package = find_ipxe("trixie") / "usr/lib/ipxe"
    small, large = (find_stock(package, each) for each in (StockBinary.SNPONLY, StockBinary.IPXE))
    assert 3 * len(small.data) < len(large.data)


@qemu
def test_one_without_drivers_boots_over_the_firmwares(tmp_path: Path, site: Site) -> None:
    with RecordingServer(site.odd) as server:
        settings = settings_of(server.port)
        (site.odd / "netboot.ipxe").write_text(build_netboot(settings, site.release, None))
        options = {"suite": "trixie", "binary": StockBinary.SNPONLY}
        with booted(tmp_path, Firmware.OVMF_PXE, settings, **options) as client:
            client.wait_for(UP)


@qemu
def test_each_machine_pauses_a_little_differently(tmp_path: Path) -> None:
    """By the last byte of its address, which QEMU's own DHCP server gives."""
    shown = ["echo SPREAD ${ec-spread} of ${netX/ip}", "poweroff"]
    script = join_lines(["#!ipxe"], start_rounds(), build_pause("nothing"), shown)
    with booted(tmp_path, Firmware.SEABIOS, settings_of(80), script=script) as client:
        client.wait_for("SPREAD 16 of 10.0.2.15")


@qemu
def test_a_wrong_hash_and_a_dead_mirror_lead_to_the_next_one(tmp_path: Path, site: Site) -> None:
    """And the token goes in a header, to the file that asks for it alone."""
    with RecordingServer(site.odd) as server, RecordingServer(site.root) as mirror:
        settings = settings_of(server.port, mirrors=[NOBODY, f"http://{HOST}:{mirror.port}"])
        (site.odd / "netboot.ipxe").write_text(build_netboot(settings, site.release, TOKEN))
        with booted(tmp_path, Firmware.OVMF_PXE, settings, suite="forky") as client:
            client.wait_for(UP)
    base = f"/releases/{site.release.id}"
    assert list(map(without_identity, server.targets)) == [
        "/netboot.ipxe",
        f"{base}/bzImage",
        f"{base}/initrd",
    ]
    assert server.tokens == [TOKEN, None, None]
    assert mirror.targets == [f"{base}/bzImage"]
    assert client.shows(f"every.channel: bzImage: WRONG SHA-256 from http://{HOST}:{server.port}")
    assert client.shows(f"{NOBODY}{base}/bzImage... Connection reset")
    assert not client.shows("trying again", FAILURE_MARK)


@qemu
def test_an_ipxe_of_2019_tells_why_each_source_failed_and_gives_a_shell(tmp_path: Path) -> None:
    with RecordingServer(tmp_path / "nothing") as server:
        settings = settings_of(
            server.port, mirrors=[NOBODY, "http://nowhere.invalid/x"], ipxe__onFailure="shell"
        )
        with booted(tmp_path, Firmware.SEABIOS, settings) as client:
            client.wait_for("iPXE>")
    assert list(map(without_identity, server.targets)) == [f"/netboot.ipxe?token={TOKEN}"] * 2
    assert client.shows("every.channel: netboot.ipxe: no source gave it; trying again in 2 s")
    assert client.shows(f"{FAILURE_MARK} netboot.ipxe: not loaded in 2 rounds")
    reasons = {
        f"http://{HOST}:{server.port}": "not found, or its host is not known to DNS",
        NOBODY: "unreachable, or the server answered with an error",
        "http://nowhere.invalid/x": "not found, or its host is not known to DNS",
    }
    for source, reason in reasons.items():
        assert client.shows(f"every.channel: {source}: {reason} (https://ipxe.org/"), client.console
    assert TOKEN not in client.console


@qemu
def test_what_is_no_boot_script_and_what_is_no_kernel(tmp_path: Path) -> None:
    """The first stage goes on to the next source; the second tells that the kernel does not start.

    On UEFI: to a BIOS, whatever has no other form is a PXE program.
    """
    files = {"bzImage": b"no kernel at all", "initrd": b"initrd"}
    release = make_release(files)
    page, root = tmp_path / "page", tmp_path / "root"
    for file, data in files.items():
        (root / "releases" / release.id).mkdir(parents=True, exist_ok=True)
        (root / "releases" / release.id / file).write_bytes(data)
    page.mkdir()
    (page / "netboot.ipxe").write_text("<!doctype html><title>Log in</title>")
    with RecordingServer(page) as portal, RecordingServer(root) as server:
        settings = settings_of(portal.port, mirrors=[f"http://{HOST}:{server.port}"])
        (root / "netboot.ipxe").write_text(build_netboot(settings, release, TOKEN))
        with booted(tmp_path, Firmware.OVMF_PXE, settings, suite="trixie") as client:
            client.wait_for("every.channel: rebooting in 0 s")
            client.process.wait(60)
    assert list(map(without_identity, portal.targets)) == [
        f"/netboot.ipxe?token={TOKEN}",
        *(f"/releases/{release.id}/{file}" for file in files),
    ]
    assert without_identity(server.targets[0]) == f"/netboot.ipxe?token={TOKEN}"
    # The error is the second stage's; the first one does not start another round.
    assert client.console.count(FAILURE_MARK) == 1
    assert client.shows(f"{FAILURE_MARK} bzImage: loaded, but does not start (https://ipxe.org/")
