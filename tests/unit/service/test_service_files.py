"""The files of a service: which there are, and what is in them."""

from __future__ import annotations

import hashlib
import json
import re
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

from support.service_programs import PROGRAMS

from ectools.service.facts import build_netboot_facts
from ectools.service.files import ServiceFiles, list_paths, settings_path
from ectools.service.ownership import Owner, find_owner
from ectools.service.settings import ServiceName

if TYPE_CHECKING:
    from collections.abc import Callable

    Build = Callable[..., ServiceFiles]

UNIT = "every-channel-netboot"


def test_each_file_is_sealed_and_at_a_place_that_is_known(build: Build) -> None:
    for name in ServiceName:
        files = build(name)
        assert {*files.texts} <= {*list_paths(name)}
        assert all(find_owner(text.encode()) is Owner.OURS for text in files.texts.values())
        assert files.settings[0] == settings_path(name)


def test_a_unit_changes_with_the_settings_that_it_reads(build: Build) -> None:
    files = build(ServiceName.NETBOOT)
    path, text = files.settings
    assert (path, json.loads(text)) == (
        PurePosixPath("/etc/every-channel/netboot.json"),
        {"listenIP": "192.0.2.10"},
    )
    assert hashlib.sha256(text.encode()).hexdigest() in files.units[f"{UNIT}.service"]
    other = build(ServiceName.NETBOOT, mirrors=["http://192.0.2.1"])
    assert other.units[f"{UNIT}.service"] != files.units[f"{UNIT}.service"]


def test_there_is_a_timer_where_one_is_asked_for(build: Build) -> None:
    timer = f"{UNIT}-stage.timer"
    assert timer not in build(ServiceName.NETBOOT).units
    assert "OnCalendar=weekly" in build(ServiceName.NETBOOT, release={"refresh": "weekly"}).units[timer]


def test_no_boot_waits_long_for_what_it_starts(build: Build) -> None:
    """A target comes after what it wants by default, and what is a oneshot has started once it has ended."""
    remote = {"strategy": "remote", "remoteUrl": "https://a.example.org/a.efi", "remoteSha256": "0" * 64}
    built = [build(ServiceName.NETBOOT, ipxe=remote).units, build(ServiceName.IPXE_QEMU).units]
    wanted = {
        name: text for units in built for name, text in units.items() if "WantedBy=multi-user.target" in text
    }
    assert f"{UNIT}-stage.service" in wanted
    for name, text in wanted.items():
        (seconds,) = re.findall(r"(?m)^TimeoutStartSec=(.*)$", text) or ["0"]
        is_waited_for = "Type=oneshot" in text and "DefaultDependencies=false" not in text
        assert not is_waited_for or int(seconds) <= 300, name


def test_a_program_with_a_blank_is_quoted_and_an_old_systemd_spared(build: Build) -> None:
    text = build(ServiceName.NETBOOT).units[f"{UNIT}-stage.service"]
    config = "/etc/every-channel/netboot.json"
    assert f'ExecStart="/opt/ec tools/bin/ectools" netboot stage --config {config}\n' in text
    assert "RestartSteps" not in text


def test_users_directories_and_modules(build: Build) -> None:
    guest = build(ServiceName.IPXE_QEMU, disk={"path": "/srv/disks/a"})
    texts = {path.parent.name: text.splitlines()[2:] for path, text in guest.texts.items()}
    name = "every-channel-ipxe-qemu"
    assert texts["sysusers.d"] == [
        f"g {name} -",
        f'u {name} -:{name} "every.channel iPXE guest"',
        "g kvm -",
    ]
    assert texts["tmpfiles.d"][-1] == f"d '/srv/disks' :0750 :{name} :{name} - -"
    assert "modules-load.d" not in texts
    lan = build(ServiceName.IPXE_QEMU, lan={"enable": True, "macvtap": {"interface": "eth0"}})
    assert lan.texts[PurePosixPath(f"/etc/modules-load.d/{name}.conf")].endswith("macvtap\n")
    netboot = build(ServiceName.NETBOOT).texts[PurePosixPath(f"/etc/sysusers.d/{UNIT}.conf")]
    assert "kvm" not in netboot


def test_facts_have_bounds(build: Build) -> None:
    options = {
        "stateDir": "/s",
        "listenIP": "192.0.2.10",
        "fleet": {"listen": None, "accessTokenFile": "/c%d", "state": None, "stateCredentialsFile": "/e%f"},
        "maxConnections": 10**9,
        "tftp": {"maxTransfers": 10**9},
        "chainTokenFile": "/a%b",
        "release": {"tokenFile": None, "credentialsFile": None, "refresh": None},
        "ipxe": {"strategy": "autoexec"},
        "proxyDhcp": {"enable": False},
        "httpPort": 1024,
        "httpAllowedCIDRs": [],
        "trustedProxies": [],
    }
    facts = build_netboot_facts(options, PROGRAMS)
    assert (facts["httpFiles"], facts["tftpFiles"]) == (4 * 250000 + 1024, 250000 + 1024)
    assert facts["chainToken"] == ["chain-token:/a%%b"]
    assert facts["accessToken"] == ["access-token:/c%%d"]
    assert facts["stateCredentials"] == ["state-credentials:/e%%f"]
    limited = {**options, "httpAllowedCIDRs": ["192.0.2.0/24"]}
    for state, allowed in (("nats://192.0.2.5,tls://[::5]:4223", ["192.0.2.5", "::5"]), ("nats://a", None)):
        fleet = {**options["fleet"], "state": state}
        found = build_netboot_facts({**limited, "fleet": fleet}, PROGRAMS)
        assert found["limitedToNetworks"] == (allowed is not None)
        assert allowed is None or set(allowed) <= set(found["allowedAddresses"])
    assert not facts["privilegedPort"]
    assert build_netboot_facts({**options, "httpPort": 1023}, PROGRAMS)["privilegedPort"]
