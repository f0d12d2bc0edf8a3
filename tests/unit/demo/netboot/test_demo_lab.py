"""The commands that set the lab's network up; ip(8) and dnsmasq are fakes."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from ectools.demo.netboot import lab as lab_module
from ectools.demo.netboot.lab import Lab, LabError, Plug, make_network, remove_network, start_router
from ectools.processes import Completed, ProcessError, ProgramMissingError

HOSTS = ("switch", "router", "boot", "client")


class Ip:
    """Notes each command, without the words that enter a namespace: ``NAMESPACE: words``."""

    def __init__(self) -> None:
        self.calls: list[str] = []
        self.prints = ""
        self.error: ProcessError | None = None

    def run(self, argv: list[str], *, timeout: float) -> Completed:
        assert timeout > 0
        where = ""
        if argv[0] == "nsenter":
            where, argv = f"{argv[1].removeprefix('--net=/run/netns/')}: ", argv[3:]
        self.calls.append(f"{where}{' '.join(argv)}")
        if self.error is not None:
            raise self.error
        return Completed(self.prints, "")


@pytest.fixture
def ip(monkeypatch: pytest.MonkeyPatch) -> Ip:
    fake = Ip()
    monkeypatch.setattr(lab_module, "run", fake.run)
    return fake


@pytest.fixture
def lab(tmp_path: Path) -> Lab:
    return Lab(tmp_path, tag="t")


def test_each_host_is_plugged_into_the_switch(ip: Ip, lab: Lab) -> None:
    make_network(lab)
    assert [call for call in ip.calls if "netns add" in call] == [
        f"ip netns add ec-{name}-t" for name in HOSTS
    ]
    for name, last in (("router", 1), ("boot", 2), ("client", 3)):
        space = f"ec-{name}-t"
        assert f"ec-switch-t: ip link add {name} type veth peer name lan0 netns {space}" in ip.calls
        assert f"ec-switch-t: ip link set {name} master bridge up" in ip.calls
        assert f"{space}: ip address add 192.168.77.{last}/24 dev lan0" in ip.calls
        assert f"{space}: ip link set lan0 up" in ip.calls


def test_two_labs_have_names_of_their_own(tmp_path: Path) -> None:
    assert Lab(tmp_path).boot != Lab(tmp_path).boot


def test_namespaces_that_cannot_be_made_are_told(ip: Ip, lab: Lab) -> None:
    ip.error = ProcessError("ip: exit status 1", argv=[], stderr="mount failed: Operation not permitted\n")
    with pytest.raises(LabError, match=r"cannot be made: mount failed: Operation not permitted$"):
        make_network(lab)
    ip.error = ProgramMissingError("ip: program not found", argv=[])
    with pytest.raises(ProgramMissingError):
        make_network(lab)


def test_what_was_made_is_taken_away_whatever_is_missing_of_it(ip: Ip, lab: Lab) -> None:
    ip.error = ProcessError("no such namespace", argv=[])
    remove_network(lab)
    assert ip.calls == [f"ip netns delete ec-{name}-t" for name in HOSTS]


def test_each_plug_is_a_tap_of_its_own(ip: Ip, lab: Lab) -> None:
    assert [lab.add_plug().tap, lab.add_plug().tap] == ["tap1", "tap2"]
    assert lab.add_plug() == Plug(
        netdev="tap,ifname=tap3,script=no,downscript=no",
        wrapper=("nsenter", "--net=/run/netns/ec-switch-t", "--"),
        tap="tap3",
    )
    assert "ec-switch-t: ip link set tap3 master bridge up" in ip.calls


def test_what_a_machine_was_sent_is_what_its_tap_sent(ip: Ip, lab: Lab) -> None:
    ip.prints = json.dumps([{"ifname": "tap1", "stats64": {"tx": {"bytes": 7}, "rx": {"bytes": 8}}}])
    assert lab.count_received() == {"tap1": 7}


def test_a_lease_is_found_by_the_hardware_address(lab: Lab) -> None:
    assert lab.find_address("52:54:00:00:00:01") is None
    (lab.directory / "leases").write_text("1 52:54:00:00:00:01 192.168.77.9 * *\n")
    assert lab.find_address("52:54:00:00:00:01") == "192.168.77.9"
    assert lab.find_address("52:54:00:00:00:02") is None


class Dnsmasq:
    """Comes up (writes its pid file) at the second look, or ends with a status."""

    def __init__(self, directory: Path, *, status: int | None) -> None:
        self._directory = directory
        self._status = status
        self.argv: list[str] = []
        self.end_with_parent: bool | None = None

    def launch(self, argv: list[str], *, stdout: Any, stderr: Any, end_with_parent: bool) -> Dnsmasq:
        assert stdout is stderr
        stderr.write(b"dnsmasq: unknown interface lan0\n")
        self.argv, self.end_with_parent = argv, end_with_parent
        return self

    def poll(self) -> int | None:
        if self._status is None:
            (self._directory / "router.pid").touch()
        return self._status

    def wait(self, _seconds: float | None = None) -> int:
        assert self._status is not None
        return self._status


@pytest.mark.parametrize("boot_file", [None, "ec-ipxe.efi"])
def test_a_router_that_names_a_file_or_none(
    monkeypatch: pytest.MonkeyPatch, lab: Lab, boot_file: str | None
) -> None:
    dnsmasq = Dnsmasq(lab.directory, status=None)
    monkeypatch.setattr(lab_module, "launch", dnsmasq.launch)
    assert start_router(lab, dnsmasq="/sbin/dnsmasq", boot_file=boot_file) is dnsmasq  # type: ignore[comparison-overlap]
    assert dnsmasq.argv[:4] == ["nsenter", "--net=/run/netns/ec-router-t", "--", "/sbin/dnsmasq"]
    named = [word for word in dnsmasq.argv if word.startswith("--dhcp-boot")]
    assert named == ([] if boot_file is None else ["--dhcp-boot=ec-ipxe.efi,,192.168.77.2"])
    assert dnsmasq.end_with_parent
    lab.router_log_file.write_text("a line\n")
    assert lab.router_log == "a line\n"


def test_a_router_that_does_not_start_is_told_with_its_words(
    monkeypatch: pytest.MonkeyPatch, lab: Lab
) -> None:
    monkeypatch.setattr(lab_module, "launch", Dnsmasq(lab.directory, status=2).launch)
    with pytest.raises(
        LabError, match=r"the router's dnsmasq: exit status 2\ndnsmasq: unknown interface lan0$"
    ):
        start_router(lab, dnsmasq="dnsmasq", boot_file=None)


def test_a_router_that_does_not_come_up_is_ended(monkeypatch: pytest.MonkeyPatch, lab: Lab) -> None:
    sleeper = subprocess.Popen(["sleep", "600"])
    monkeypatch.setattr(lab_module, "launch", lambda *_words, **_more: sleeper)
    monkeypatch.setattr(lab_module, "_START_SECONDS", 0.0)
    with pytest.raises(LabError, match="it does not come up"):
        start_router(lab, dnsmasq="dnsmasq", boot_file=None)
    assert sleeper.returncode is not None
