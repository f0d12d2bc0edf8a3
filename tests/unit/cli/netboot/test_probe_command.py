"""``ectools netboot probe``: what is asked of a network that is a fake, and what is made of its report."""

from __future__ import annotations

import io
import json
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from ectools.cli.netboot.probe import COMMAND
from ectools.errors import InputError
from ectools.netboot.probe.faults import BootFault, FaultCode, Severity
from ectools.netboot.probe.report import ProbeReport, build_json
from ectools.netboot.probe.run import ProbeRequest

if TYPE_CHECKING:
    from collections.abc import Callable

    from conftest import Program

QUIET = ProbeReport(
    interface="eth0",
    mac="02:00:00:00:00:01",
    address=None,
    seconds=5.0,
    boot_traces=(),
    faults=(),
    notes=("nobody answered: ü",),
)


class Network:
    """Notes what is asked, and answers with ``report``."""

    def __init__(self) -> None:
        self.report = QUIET
        self.asked: list[ProbeRequest] = []

    def probe(self, request: ProbeRequest, *, on_progress: Callable[[str], None]) -> ProbeReport:
        self.asked.append(request)
        on_progress("asking")
        return self.report


@pytest.fixture
def network(monkeypatch: pytest.MonkeyPatch) -> Network:
    found = Network()
    monkeypatch.setattr("ectools.netboot.probe.run.run_probe", found.probe)
    return found


def fault(severity: Severity) -> BootFault:
    code = next(code for code in FaultCode)
    return BootFault(code=code, severity=severity, client=None, message="something is wrong")


def test_without_options_all_is_asked_and_no_lease_taken(program: Program, network: Network) -> None:
    status, out, err = program(COMMAND)
    assert (status, err) == (0, "")
    assert "nobody answered: ü" in out
    assert network.asked == [ProbeRequest()]


def test_each_option_arrives(program: Program, network: Network) -> None:
    words = "--interface br0 --arch 7 --arch 0 --timeout 0.5 --mac 02-aB-00:12:34:56 --lease --verify"
    assert program(COMMAND, *words.split())[0] == 0
    program(COMMAND, "--no-fetch")
    assert network.asked == [
        ProbeRequest(
            interface="br0",
            architectures=(7, 0),
            seconds=0.5,
            mac=bytes.fromhex("02ab00123456"),
            lease=True,
            verify=True,
        ),
        ProbeRequest(fetch=False),
    ]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("--mac 02:00:00:12:34", "expected the address of one machine, such as 02:00:00:12:34:56"),
        ("--mac 02:00:00:12:34:5g", "expected the address of one machine"),
        ("--mac 01:00:5e:00:00:01", "01:00:5e:00:00:01: expected the address of one machine"),
        ("--mac ff:ff:ff:ff:ff:ff", "expected the address of one machine"),
        ("--arch 99", "99: expected one of 0, "),
        ("--arch 7 --arch x86", "x86"),
        ("--timeout 0.4", "0.4"),
        ("--timeout 121", "121"),
        ("--no-fetch --verify", "--no-fetch goes with neither --verify nor --lease"),
        ("--no-fetch --lease", "--no-fetch goes with neither --verify nor --lease"),
    ],
)
def test_wrong_usage_asks_nobody(program: Program, network: Network, words: str, said: str) -> None:
    status, out, err = program(COMMAND, *words.split())
    assert (status, out) == (2, "")
    assert said in err
    assert network.asked == []


@pytest.mark.parametrize(
    ("severities", "status"),
    [
        ([], 0),
        ([Severity.WARNING], 0),
        ([Severity.ERROR], 1),
        ([Severity.WARNING, Severity.ERROR], 1),
    ],
)
@pytest.mark.parametrize("as_json", [False, True])
def test_a_fault_is_the_exit_status_and_a_warning_is_none(
    program: Program, network: Network, severities: list[Severity], status: int, as_json: bool
) -> None:
    network.report = replace(QUIET, faults=tuple(map(fault, severities)))
    got, out, _ = program(COMMAND, *(["--json"] if as_json else []))
    assert got == status
    if as_json:
        assert json.loads(out) == build_json(network.report)
        assert "ü" in out
    else:
        assert ("something is wrong" in out) is bool(severities)


def test_what_goes_on_is_shown_on_a_terminal_alone(
    program: Program, network: Network, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    assert "asking" not in "".join(program(COMMAND)[1:])
    monkeypatch.setattr("sys.stderr", terminal := Terminal())
    assert "asking" not in program(COMMAND)[1]
    assert terminal.getvalue() == "asking\n"


def test_an_interface_that_is_none(program: Program, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_arguments: object, **_options: object) -> ProbeReport:
        raise InputError("eth9: no such interface", hint="one of: lo")

    monkeypatch.setattr("ectools.netboot.probe.run.run_probe", fail)
    status, out, err = program(COMMAND, "--interface", "eth9", "--json")
    assert (status, out) == (2, "")
    assert "eth9: no such interface" in err
    assert "one of: lo" in err
