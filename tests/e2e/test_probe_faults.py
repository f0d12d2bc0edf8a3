"""What works and what does not, set up for real: the probe's verdict, and what a real firmware makes of it.

The networks are in ``support/probe_cases.py``: dnsmasq as router, as proxy and as relay, TFTP, HTTP, DNS.
"""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from support.guests import require_qemu
from support.netboot_clients import BOOT_SECONDS, start_client
from support.probe_cases import BOOTED, CASES, WORKING, Case
from support.probe_lab import BOOT, WEB, Probed, ProbeLab, build_probe_lab
from support.probe_networks import (
    FOR_IPXE,
    HTTP_BOOT,
    MARK,
    NETWORK_BOOT,
    SERVICES,
    both,
    proxied,
    put_files,
    tampered_kernel,
    unifi,
)

from ectools.netboot.probe.faults import FaultCode

pytestmark = [pytest.mark.netns]

MACHINES_AT_ONCE = 3


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[ProbeLab]:
    """Nothing is started; the files of a working boot host are there."""
    with build_probe_lab(tmp_path) as lab:
        put_files(lab)
        yield lab


def test_unifi_only(lab: ProbeLab) -> None:
    unifi(lab)
    probed = lab.probe("--arch", "7", "--arch", "9")
    assert (probed.status, probed.codes, probed.warnings) == (0, set(), set()), probed.report
    assert probed.outcome(7) == probed.outcome(9) == "boots"
    assert probed.architecture(7)["boot"] == {
        "kernel": f"{WEB}/kernel",
        "arguments": f"console=ttyS0 panic=-1 no_timer_check ec.mark={MARK} initrd=initrd",
        "initrds": [f"{WEB}/initrd"],
    }
    assert lab.leased() == []


def test_proxy_with_http_boot_for_all_that_is_offered(lab: ProbeLab) -> None:
    proxied(lab, *SERVICES, FOR_IPXE, *HTTP_BOOT)
    probed = lab.probe()
    assert probed.status == 0, probed.report
    assert probed.codes == set()
    outcomes = {number: probed.outcome(number) for number in (0, 6, 7, 9, 11, 16, 19)}
    offered = dict.fromkeys((0, 7, 9, 16), "boots")
    assert outcomes == {**dict.fromkeys((6, 11, 19), "not offered"), **offered}
    # What nobody has is no fault, unless it is asked for.
    assert probed.warnings == {FaultCode.NO_BOOT_ANSWER}
    assert lab.probe("--arch", "11").codes == {FaultCode.NO_BOOT_ANSWER}
    assert lab.leased() == []


def test_the_firmware_follows_the_proxy(lab: ProbeLab) -> None:
    both(lab)
    assert lab.probe("--arch", "7").architecture(7)["steps"][0]["takes"]["said_by"] == BOOT


@pytest.mark.parametrize("case", [*WORKING, *CASES], ids=lambda case: case.id)
def test_verdict(lab: ProbeLab, case: Case) -> None:
    case.set_up(lab)
    options = ["--verify"] if case.verify else []
    probed = lab.probe("--arch", str(case.number), *options, seconds=case.seconds)
    assert probed.report is not None, probed.errors
    assert probed.codes == case.codes, probed.report
    assert case.warnings <= probed.warnings, probed.report
    assert probed.status == bool(case.codes)
    assert (probed.outcome(case.number) == "boots") is not bool(case.codes), probed.report
    faults = probed.report["faults"]
    assert any(case.words in fault["message"] for fault in faults) or not case.words, faults
    assert any(case.remedy in fault["remedy"] for fault in faults) or not case.remedy, faults
    assert "t0ken" not in str(probed.report)
    assert lab.leased() == []


def test_every_code_is_set_up() -> None:
    assert {code for case in CASES for code in case.codes} == set(FaultCode)
    assert not any(case.codes for case in WORKING)


# What a firmware does in the same networks.

Machines = dict[str, "Future[str]"]


@pytest.fixture(scope="module")
def machines(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machines]:
    """The consoles of the machines that are asked for, by their cases: several boot at a time."""
    require_qemu()
    directory = tmp_path_factory.mktemp("machines")
    cases = [
        item.callspec.params["case"]
        for item in request.session.items
        if isinstance(item, pytest.Function) and item.originalname == test_firmware.__name__
    ]
    with ThreadPoolExecutor(MACHINES_AT_ONCE) as pool:
        yield {case.id: pool.submit(boot_machine, directory / case.id, case) for case in cases}
        pool.shutdown(cancel_futures=True)


def boot_machine(directory: Path, case: Case) -> str:
    """What a machine's console shows, to a kernel's first line or to its failure."""
    directory.mkdir()
    with build_probe_lab(directory) as lab:
        put_files(lab)
        case.set_up(lab)
        own = directory / "machine"
        own.mkdir()
        with start_client(lab.add_plug(), case.firmware, own) as client:
            client.wait_for(BOOTED, *case.shows, seconds=2 * BOOT_SECONDS)
            return client.console.replace("\n", "")


@pytest.mark.qemu
@pytest.mark.full
@pytest.mark.timeout(3600)
@pytest.mark.parametrize(
    "case", [each for each in (*WORKING, *CASES) if not each.unpaired], ids=lambda case: case.id
)
def test_firmware(machines: Machines, case: Case) -> None:
    """It boots where the probe says so, and fails in its own words where there is a fault."""
    console = machines[case.id].result()
    assert (BOOTED in console) is not bool(case.shows), console


def test_what_is_not_compared_is_taken_to_be_right(lab: ProbeLab) -> None:
    tampered_kernel(lab)
    assert lab.probe("--arch", "7").outcome(7) == "boots"


REFUSING = """
import http.server, sys
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        status = int(sys.argv[1])
        self.send_response(status); self.send_header("Content-Length", "18"); self.end_headers()
        self.wfile.write(b"a token is needed\\n")
    def log_message(self, *_): pass
server = http.server.HTTPServer(("192.168.77.2", 8123), Handler)
print("ready", flush=True)
server.serve_forever()
"""


@pytest.mark.parametrize("status", ["401", "403", "500"])
def test_a_server_that_refuses(lab: ProbeLab, status: str) -> None:
    lab.start_router(NETWORK_BOOT)
    lab.start_tftp()
    lab.start_program("boot", REFUSING, status)
    fault = refused(lab.probe("--arch", "7"))
    assert f"HTTP status {status}: a token is needed" in fault["message"]
    assert ("chainTokenFile" in fault["remedy"]) is (status != "500")


def refused(probed: Probed) -> dict[str, Any]:
    assert probed.codes == {FaultCode.FILE_MISSING_HTTP}, probed.report
    return probed.fault(FaultCode.FILE_MISSING_HTTP)
