"""The probe against the product's own boot host, set up by hand as the guide does it."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from support.boot_binaries import ARM64, UNDIONLY, build_ipxe
from support.boot_service import require_boot_services
from support.kernels import system_files
from support.probe_lab import BOOT, ECTOOLS, ProbeLab, build_probe_lab
from support.releases import release_files, write_archive

from ectools.netboot.kernel import KernelArchitecture
from ectools.netboot.probe.faults import FaultCode

pytestmark = [pytest.mark.netns]

TOKEN = "t0ken-of-the-chain"
NETWORK_BOOT = f"dhcp-boot=ec-ipxe.efi,,{BOOT}"
KERNEL = bytes(0x202) + b"HdrS" + bytes(50_000)


class BootHost:
    """A settings file, and the commands of the guide run with it."""

    def __init__(self, lab: ProbeLab, **options: Any) -> None:
        self.lab = lab
        directory = lab.directory
        (directory / "ipxe.efi").write_bytes(build_ipxe())
        (directory / "undionly.kpxe").write_bytes(UNDIONLY)
        self.token_file = directory / "token"
        self.token_file.write_text(TOKEN)
        self.config = directory / "netboot.json"
        settings = {
            "listenIP": BOOT,
            "hostname": BOOT,
            "interface": "eth0",
            "stateDir": str(directory / "state"),
            "chainTokenFile": str(self.token_file),
            "ipxe": {
                "strategy": "local",
                "localFile": str(directory / "ipxe.efi"),
                "biosFile": str(directory / "undionly.kpxe"),
            },
            **options,
        }
        self.config.write_text(json.dumps(settings))

    def run(self, *words: str) -> None:
        argv = [*ECTOOLS, "netboot", *words, "--config", str(self.config)]
        done = subprocess.run(argv, capture_output=True, text=True, check=False)
        assert done.returncode == 0, (words, done.stderr)

    def stage(self) -> None:
        files = {**release_files(), "kernel": KERNEL}
        self.run("stage", "--tarball", str(write_archive(self.lab.directory, files)))

    def serve(self) -> None:
        argv = [*self.lab.inside("boot"), *ECTOOLS, "netboot", "serve", "--config", str(self.config)]
        log = (self.lab.directory / "serve.log").open("w")
        server = subprocess.Popen([*argv, "--json"], stdout=subprocess.PIPE, stderr=log, text=True)
        self.lab.stack.callback(log.close)
        self.lab.stack.callback(server.wait)
        self.lab.stack.callback(server.terminate)
        assert server.stdout is not None
        assert server.stdout.readline(), (self.lab.directory / "serve.log").read_text()


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[ProbeLab]:
    require_boot_services()
    with build_probe_lab(tmp_path) as lab:
        yield lab


PROXY = {"proxyDhcp": {"enable": True, "subnet": "192.168.77.0/24"}}
MODES = {
    "unifi": ((NETWORK_BOOT,), {}, {7, 9}),
    "proxy": ((), PROXY, {0, 7, 9, 16}),
    "both": ((NETWORK_BOOT,), PROXY, {7, 9, 16}),
}


@pytest.mark.parametrize("mode", MODES)
def test_a_boot_host_as_the_guide_sets_it_up(lab: ProbeLab, mode: str) -> None:
    router, options, booting = MODES[mode]
    lab.start_router(*router)
    host = BootHost(lab, **options)
    host.stage()
    host.run("ipxe")
    host.serve()
    probed = lab.probe()
    found = {number for number in (0, 6, 7, 9, 11, 16, 19) if probed.outcome(number) == "boots"}
    assert found == booting, json.dumps(probed.report, indent=1)
    assert probed.codes == set(), json.dumps(probed.report, indent=1)
    assert probed.status == 0
    assert TOKEN not in json.dumps(probed.report)
    if mode != "proxy":
        # A BIOS is given the router's file, by firmware or by iPXE, and that is for UEFI.
        assert probed.outcome(0) == "stops"
        assert FaultCode.WRONG_ARCHITECTURE in probed.warnings
    boot = probed.architecture(7)["boot"]
    assert boot["kernel"].startswith(f"http://{BOOT}:8080/releases/sha256-")
    # On the boot host itself it is the same.
    assert lab.probe("--arch", "7", name="boot").outcome(7) == "boots"
    assert lab.leased() == []


def test_a_token_that_was_changed_without_writing_the_script_anew(lab: ProbeLab) -> None:
    lab.start_router(NETWORK_BOOT)
    host = BootHost(lab)
    host.stage()
    host.run("ipxe")
    host.token_file.write_text("another-t0ken")
    host.serve()
    probed = lab.probe("--arch", "7")
    assert probed.codes == {FaultCode.FILE_MISSING_HTTP}, probed.report
    assert "403" in probed.fault(FaultCode.FILE_MISSING_HTTP)["message"]
    assert "ectools netboot ipxe writes it anew" in probed.fault(FaultCode.FILE_MISSING_HTTP)["remedy"]


def test_a_kernel_that_was_changed_on_the_server(lab: ProbeLab) -> None:
    lab.start_router(NETWORK_BOOT)
    host = BootHost(lab)
    host.stage()
    host.run("ipxe")
    host.serve()
    assert lab.probe("--arch", "7", "--verify").status == 0
    kernel = (lab.directory / "state/current/kernel").resolve()
    kernel.chmod(0o644)
    kernel.write_bytes(KERNEL[:-1] + b"\x01")
    probed = lab.probe("--arch", "7", "--verify")
    assert probed.codes == {FaultCode.WRONG_SHA256}, probed.report
    assert "/kernel has the SHA-256" in probed.fault(FaultCode.WRONG_SHA256)["message"]


def test_a_client_that_is_not_allowed(lab: ProbeLab) -> None:
    lab.start_router(NETWORK_BOOT)
    host = BootHost(lab, httpAllowedCIDRs=["192.0.2.0/24"])
    host.stage()
    host.run("ipxe")
    host.serve()
    probed = lab.probe("--arch", "7")
    assert probed.codes == {FaultCode.FILE_MISSING_HTTP}, probed.report
    assert "not allowed from here" in probed.fault(FaultCode.FILE_MISSING_HTTP)["message"]
    assert "httpAllowedCIDRs" in probed.fault(FaultCode.FILE_MISSING_HTTP)["remedy"]


def test_nothing_is_staged(lab: ProbeLab) -> None:
    lab.start_router(NETWORK_BOOT)
    host = BootHost(lab)
    host.run("ipxe")
    host.serve()
    probed = lab.probe("--arch", "7")
    assert probed.codes == {FaultCode.FILE_MISSING_HTTP}, probed.report
    assert "stage" in probed.fault(FaultCode.FILE_MISSING_HTTP)["remedy"]


def test_each_architecture_of_a_release_of_two_systems(lab: ProbeLab) -> None:
    lab.start_router()
    arm64 = lab.directory / "ipxe-arm64.efi"
    arm64.write_bytes(build_ipxe(machine=ARM64))
    host = BootHost(lab, **PROXY)
    settings = json.loads(host.config.read_text())
    settings["ipxe"]["arm64File"] = str(arm64)
    host.config.write_text(json.dumps(settings))
    archives = [
        str(write_archive(lab.directory, system_files(each), f"ec-runner-{each}-netboot-boot-v1.tar.gz"))
        for each in (KernelArchitecture.X86_64, KernelArchitecture.AARCH64)
    ]
    host.run("stage", "--tarball", archives[0], "--tarball", archives[1])
    host.run("ipxe")
    host.serve()
    probed = lab.probe("--arch", "0", "--arch", "7", "--arch", "11", "--verify")
    assert probed.codes == set(), json.dumps(probed.report, indent=1)
    kernels = {number: probed.architecture(number)["boot"]["kernel"] for number in (0, 7, 11)}
    assert kernels[0] == kernels[7]
    assert kernels[7].endswith("/ec-runner-x86_64-netboot/kernel")
    assert kernels[11] == kernels[7].replace("x86_64", "aarch64")
    # The same host, whose next release has one system alone.
    host.run("stage", "--tarball", archives[0])
    probed = lab.probe("--arch", "7", "--arch", "11")
    assert (probed.outcome(7), probed.outcome(11)) == ("boots", "stops")
    assert probed.codes == {FaultCode.NO_SYSTEM}, json.dumps(probed.report, indent=1)
    assert "has no system for arm64" in probed.fault(FaultCode.NO_SYSTEM)["message"]
    assert probed.status == 1
