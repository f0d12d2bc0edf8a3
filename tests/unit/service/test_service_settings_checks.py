"""What settings a service cannot be installed with."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from ectools.errors import ProblemsError
from ectools.processes import Completed, ProcessError, ProgramMissingError
from ectools.service import settings as module
from ectools.service.settings import ServiceName, load_service_settings
from ectools.vm.settings import GuestSettings

NETBOOT = {"listenIP": "192.0.2.10"}
GUEST = {"boot": {"http": {"root": "/srv/netboot"}}}


def load(directory: Path, name: ServiceName, document: dict[str, Any]) -> Any:
    config = directory / "s.json"
    config.write_text(json.dumps(document))
    return load_service_settings(name, config)


def find_options(directory: Path, name: ServiceName, document: dict[str, Any]) -> list[str]:
    with pytest.raises(ProblemsError) as caught:
        load(directory, name, document)
    assert all(problem.line == 1 for problem in caught.value.problems)
    return [
        problem.option.removeprefix(f"services.every-channel.{name}.") for problem in caught.value.problems
    ]


def test_a_host_description_gives_what_nixos_would_write(tmp_path: Path) -> None:
    host = {"services": {"every-channel": {"netboot": {"enable": True, "openFirewall": False, **NETBOOT}}}}
    found = load(tmp_path, ServiceName.NETBOOT, host)
    assert json.loads(found.text) == {"openFirewall": False, **NETBOOT}
    assert found.options["httpPort"] == 8080
    assert isinstance(load(tmp_path, ServiceName.IPXE_QEMU, GUEST).settings, GuestSettings)


@pytest.mark.parametrize("directory", ["/etcetera", "/usr/local/netboot", "/var/lib/netboot", "/dev/shm/a"])
def test_a_directory_of_its_own_can_be_beside_the_systems(tmp_path: Path, directory: str) -> None:
    assert load(tmp_path, ServiceName.NETBOOT, {**NETBOOT, "stateDir": directory})


def test_systemd_is_asked_for_calendar_events(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    never = {**NETBOOT, "release": {"refresh": "never"}}
    asked: list[Sequence[str]] = []

    def run(argv: Sequence[str], **_options: Any) -> Completed:
        asked.append(argv)
        raise error

    monkeypatch.setattr(module, "run", run)
    error: ProcessError = ProcessError("no", argv=[])
    assert find_options(tmp_path, ServiceName.NETBOOT, never) == ["release.refresh"]
    assert asked == [["systemd-analyze", "calendar", "--", "never"]]
    error = ProgramMissingError("no", argv=[])
    assert load(tmp_path, ServiceName.NETBOOT, never)


@pytest.mark.parametrize(
    ("name", "document", "options"),
    [
        (ServiceName.NETBOOT, {**NETBOOT, "hostname": "-"}, ["hostname"]),
        (ServiceName.NETBOOT, {**NETBOOT, "enable": False}, ["enable"]),
        (ServiceName.NETBOOT, {**NETBOOT, "stateDir": "/var/lib"}, ["stateDir"]),
        (ServiceName.NETBOOT, {**NETBOOT, "stateDir": "//var/lib"}, ["stateDir"]),
        (ServiceName.NETBOOT, {**NETBOOT, "stateDir": "/etc/ssh"}, ["stateDir"]),
        (ServiceName.NETBOOT, {**NETBOOT, "stateDir": "//usr/lib/systemd"}, ["stateDir"]),
        (ServiceName.NETBOOT, {**NETBOOT, "stateDir": "/home/a"}, ["stateDir"]),
        (ServiceName.NETBOOT, {**NETBOOT, "stateDir": "//tmp/a"}, ["stateDir"]),
        (ServiceName.NETBOOT, {**NETBOOT, "release": {"refresh": "daily\nUnit=x"}}, ["release.refresh"]),
        (ServiceName.NETBOOT, {**NETBOOT, "release": {"tarball": "/root/x"}}, ["release.tarball"]),
        (ServiceName.NETBOOT, {**NETBOOT, "fleet": {"file": "/home/a/fleet.toml"}}, ["fleet.file"]),
        (
            ServiceName.NETBOOT,
            {
                **NETBOOT,
                "ipxe": {"strategy": "local", "localFile": "/tmp/a.efi", "biosFile": "/root/b"},
                "release": {"signature": {"format": "minisign", "publicKeyFile": "/home/k"}},
            },
            ["ipxe.biosFile", "ipxe.localFile", "release.signature.publicKeyFile"],
        ),
        (
            ServiceName.NETBOOT,
            {
                **NETBOOT,
                "ipxe": {
                    "strategy": "remote",
                    "remoteUrl": "https://a/b.efi",
                    "remoteSha256": "0" * 64,
                    "remoteCaFile": "/tmp/ca",
                    "extraFiles": {"sb/grubx64.efi": "/home/g"},
                },
                "release": {"caFile": "/root/ca"},
            },
            ['ipxe.extraFiles."sb/grubx64.efi"', "ipxe.remoteCaFile", "release.caFile"],
        ),
        (ServiceName.IPXE_QEMU, {**GUEST, "vcpus": 0}, ["vcpus"]),
        (ServiceName.IPXE_QEMU, {**GUEST, "stateDir": "/srv"}, ["stateDir"]),
        (ServiceName.IPXE_QEMU, {**GUEST, "disk": {"path": "/tmp/d"}}, ["disk.path"]),
        (
            ServiceName.IPXE_QEMU,
            {"boot": {"http": {"root": "/home/r"}, "userNet": {"tftpDir": "/srv"}}},
            ["boot.http.root", "boot.userNet.tftpDir"],
        ),
    ],
)
def test_what_cannot_be(
    tmp_path: Path, name: ServiceName, document: dict[str, Any], options: list[str]
) -> None:
    assert find_options(tmp_path, name, document) == options
