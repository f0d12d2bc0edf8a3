"""The module ec-ipxe-qemu, evaluated and built as a host's configuration."""

from __future__ import annotations

import json
import os
import re
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from support.hosts import ROOT, Nix, merge
from support.needs import give_up

pytestmark = pytest.mark.nix

OPTION = "services.every-channel.ipxe-qemu"
UNIT = "every-channel-ipxe-qemu"
DEFAULT_STATE = "/var/lib/every-channel/ipxe-qemu"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (merge(ROOT, {"boot": {"userNet": {"dnsServers": []}}}), "boot.userNet.dnsServers must not be empty"),
        (
            merge(ROOT, {"lan": {"enable": True}}),
            "lan.macvtap.interface must be set when lan.enable is true",
        ),
        ({}, "boot.http.root must be set when boot.http.enable is true"),
        (
            merge(ROOT, {"boot": {"chainTokenFile": "/nix/store/0000-token"}}),
            "boot.chainTokenFile must not be in the Nix store, which everyone can read",
        ),
        (
            merge(ROOT, {"boot": {"http": {"port": 0}, "userNet": {"bootFile": None}}}),
            'boot.http.port must not be 0 unless boot.userNet.hostLoopback is "all"',
        ),
    ],
)
def test_each_assertion_fires_alone_in_its_words(
    evaluate_host: Any, options: dict[str, Any], message: str
) -> None:
    assert evaluate_host("failed", options) == [f"{OPTION}.{message}"]


def test_directories_that_the_service_cannot_use_are_refused_by_their_options(evaluate_host: Any) -> None:
    wrong = {
        "stateDir": "/",
        "disk": {"path": "/home/vm/disk.qcow2"},
        "boot": {
            "http": {"root": "/tmp"},
            "userNet": {"bootFile": "/root/ipxe.kpxe", "tftpDir": "/var/lib/"},
        },
    }
    hidden = "must not be below /home, /root, /run/user, /tmp, /var/tmp, which the service does not see"
    own = "must be a directory of the guest's own, because it is given to the service's user"
    assert evaluate_host("failed", wrong) == [
        f"{OPTION}.boot.http.root {hidden}",
        f"{OPTION}.boot.userNet.bootFile {hidden}",
        f"{OPTION}.disk.path {hidden}",
        f"{OPTION}.boot.userNet.tftpDir {own}",
        f"{OPTION}.stateDir {own}",
    ]


@pytest.mark.parametrize(
    "options",
    [
        ROOT,
        merge(
            {"boot": {"http": {"enable": False, "root": "/home/not/served"}}},
            {"boot": {"chainTokenFile": "/nix/storefront/token", "chainUrl": "http://boot.example.org/a"}},
            {"stateDir": "/vm", "disk": {"path": "/homes/disk.qcow2"}},
        ),
        merge(ROOT, {"lan": {"enable": True, "macvtap": {"interface": "eth0"}}}),
    ],
)
def test_no_assertion_fires_without_a_fault(evaluate_host: Any, options: dict[str, Any]) -> None:
    assert evaluate_host("failed", options) == []


@pytest.mark.parametrize(
    ("options", "attribute"),
    [
        ({"vcpus": 0}, "vcpus"),
        ({"memoryMiB": "lots"}, "memoryMiB"),
        ({"boot": {"http": {"port": 65536}}}, "boot.http.port"),
        ({"lan": {"macvtap": {"mode": "bridged"}}}, "lan.macvtap.mode"),
        ({"lan": {"macvtap": {"macAddress": "02:ec"}}}, "lan.macvtap.macAddress"),
        ({"boot": {"chainUrl": 7}}, "boot.chainUrl"),
    ],
)
def test_a_value_of_the_wrong_type_fails_the_evaluation_with_its_option(
    host_nix: Nix, options: dict[str, Any], attribute: str
) -> None:
    done = host_nix(["nix-instantiate"], "unit", merge(ROOT, options))
    assert done.returncode != 0
    assert f"{OPTION}.{attribute}" in done.stderr


@pytest.mark.parametrize(
    ("options", "attribute"),
    [
        ({"boot": {"userNet": {"bootFilename": "x" * 128}}}, "boot.userNet.bootFilename"),
        ({"boot": {"userNet": {"dnsServers": ["dns.example.org"]}}}, "boot.userNet.dnsServers"),
        ({"boot": {"http": {"bindIp": "localhost:80"}}}, "boot.http.bindIp"),
        ({"boot": {"chainUrl": "netboot.ipxe"}}, "boot.chainUrl"),
        ({"disk": {"size": "16 gigabytes"}}, "disk.size"),
        ({"lan": {"enable": True, "macvtap": {"interface": "e", "name": "x" * 16}}}, "lan.macvtap.name"),
    ],
)
def test_a_value_that_only_the_program_can_judge_fails_the_build_with_its_option(
    host_nix: Nix, options: dict[str, Any], attribute: str
) -> None:
    done = host_nix(["nix-build", "--no-out-link"], "settings", merge(ROOT, options))
    assert done.returncode != 0
    assert f"{OPTION}.{attribute}" in done.stderr


def test_kvm_off_reaches_machine_and_cpu(evaluate_host: Any) -> None:
    on = evaluate_host("config.services.every-channel.ipxe-qemu", ROOT)
    off = evaluate_host("config.services.every-channel.ipxe-qemu", merge(ROOT, {"enableKvm": False}))
    assert (on["machine"], on["cpu"]) == ("q35,accel=kvm", "host")
    assert (off["machine"], off["cpu"]) == ("q35,accel=tcg", "max")


def test_disabled_leaves_no_unit_no_user_and_no_directory_rule(evaluate_host: Any) -> None:
    for attribute in ("units", "tmpfiles", "users"):
        found = evaluate_host(attribute, {"enable": False})
        assert not [name for name in found if "ipxe-qemu" in name]


def test_the_unit_says_what_the_interface_promises(host_unit: Path) -> None:
    text = host_unit.read_text()
    for line in (
        "After=local-fs.target network-online.target",
        "Wants=network-online.target",
        "WantedBy=multi-user.target",
        "Restart=always",
        "RestartSec=5",
        "WorkingDirectory=/var/lib/every-channel/ipxe-qemu",
        "Type=notify",
    ):
        assert line in text.splitlines()


def test_the_guest_starts_with_its_loopback_filter_unless_it_may_reach_all(
    build_host: Callable[..., Path], evaluate_host: Any, host_unit: Path
) -> None:
    assert host_unit.read_text().count("--require-loopback-filter") == 1
    filter_unit = build_host("filterUnit", ROOT)
    (triggers,) = re.findall(r"^X-Restart-Triggers=(\S+)$", host_unit.read_text(), re.MULTILINE)
    assert str(filter_unit) in Path(triggers).read_text(), "a changed filter restarts the guest"
    lines = (filter_unit / f"{UNIT}-loopback.service").read_text().splitlines()
    assert {f"Before={UNIT}.service", f"WantedBy={UNIT}.service", "StopWhenUnneeded=true"} <= set(lines)
    every = merge(ROOT, {"boot": {"userNet": {"hostLoopback": "all"}}})
    assert "loopback" not in (build_host("unit", every) / f"{UNIT}.service").read_text()
    assert f"{UNIT}-loopback" not in evaluate_host("units", every)


def test_the_link_to_the_lan_is_made_anew_at_each_start_of_the_guest(build_host: Callable[..., Path]) -> None:
    lines = (build_host("lanUnit", LAN) / f"{UNIT}-lan.service").read_text().splitlines()
    # It may be gone by then with its interface, while its unit is up: a restart of the guest restarts it too.
    assert {f"PartOf={UNIT}.service", f"Before={UNIT}.service", "StartLimitIntervalSec=0"} <= set(lines)


def test_this_host_asks_for_no_address_on_the_guests_link(evaluate_host: Any) -> None:
    found = evaluate_host("links", LAN)
    assert "ecqemu0" in found["dhcpcd"]
    assert "interface-name:ecqemu0" in found["networkmanager"]
    (name,) = found["networkd"]
    # The first by name counts; nixpkgs' own begin with 40 and 99.
    assert name < "10"
    assert found["networkd"][name] == {"name": "ecqemu0", "unmanaged": True}
    without = evaluate_host("links", ROOT)
    assert "ecqemu0" not in str(without), without


@pytest.mark.parametrize(
    ("options", "memory", "tasks"),
    [
        ({}, 4096 + 64 + 1536, 258),
        ({"memoryMiB": 512, "vcpus": 4}, 512 + 128 + 1536, 260),
    ],
)
def test_the_unit_is_bounded_by_what_the_guest_is_given(
    build_host: Callable[..., Path], options: dict[str, Any], memory: int, tasks: int
) -> None:
    text = (build_host("unit", merge(ROOT, options)) / f"{UNIT}.service").read_text()
    assert {f"MemoryMax={memory}M", f"TasksMax={tasks}"} <= set(text.splitlines())


def test_more_memory_changes_the_settings_but_not_the_boot_file(evaluate_host: Any) -> None:
    small = evaluate_host("config.services.every-channel.ipxe-qemu", merge(ROOT, {"memoryMiB": 512}))
    large = evaluate_host("config.services.every-channel.ipxe-qemu", merge(ROOT, {"memoryMiB": 1024}))
    assert small["boot"]["userNet"]["bootFile"] == large["boot"]["userNet"]["bootFile"]


def test_a_switch_leaves_the_guest_its_link_and_its_filter_as_they_are(evaluate_host: Any) -> None:
    for options, expected in ((LAN, False), (merge(LAN, {"restartIfChanged": True}), True)):
        assert evaluate_host("restarts", options) == {
            f"{UNIT}{part}": expected for part in ("", "-lan", "-loopback")
        }


def test_the_settings_file_holds_every_option_that_the_programs_act_upon(
    build_host: Callable[..., Path], evaluate_host: Any
) -> None:
    written = json.loads(build_host("settings", ROOT).read_text())
    options = evaluate_host("config.services.every-channel.ipxe-qemu", ROOT)
    acted_upon_by_nixos = ("enable", "restartIfChanged")
    assert written == {name: value for name, value in options.items() if name not in acted_upon_by_nixos}


def test_the_chain_token_comes_as_a_credential_and_stays_out_of_the_boot_file(
    build_host: Callable[..., Path],
) -> None:
    token = {"chainTokenFile": "/run/secrets/chain-token", "chainUrl": "http://boot.example.org/a.ipxe"}
    options = merge(ROOT, {"boot": token})
    text = (build_host("unit", options) / "every-channel-ipxe-qemu.service").read_text()
    assert "LoadCredential=chain-token:/run/secrets/chain-token" in text.splitlines()
    assert json.loads(build_host("settings", options).read_text())["boot"]["userNet"]["bootFile"] is None


LAN = merge(ROOT, {"lan": {"enable": True, "macvtap": {"interface": "eth0"}}})


@pytest.mark.parametrize(
    ("attribute", "options", "most"),
    [("unit", ROOT, 1.3), ("unit", LAN, 1.3), ("lanUnit", LAN, 1.6), ("filterUnit", ROOT, 1.2)],
    ids=["user-mode network", "with a LAN", "link to the LAN", "loopback filter"],
)
def test_exposure_is_bounded(
    build_host: Callable[..., Path],
    require_tool: Callable[[str, str], str],
    attribute: str,
    options: dict[str, Any],
    most: float,
) -> None:
    analyze = require_tool("systemd-analyze", "install systemd")
    (unit,) = build_host(attribute, options).glob("*.service")
    argv = [analyze, "security", "--offline=true", f"--threshold={most * 10:g}", "--no-pager", str(unit)]
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-600:]
    (exposure,) = re.findall(r"exposure level for \S+: ([\d.]+)", done.stdout)
    assert float(exposure) <= most


ODD = """/var/lib/a %n"b'c\\d é"""


@pytest.mark.parametrize(
    "options",
    [
        ROOT,
        merge(
            {"stateDir": ODD, "disk": {"path": f"{ODD}/disks/disk"}},
            {"boot": {"http": {"root": f"{ODD}/root"}}},
            {"boot": {"chainTokenFile": f"{ODD}/token", "chainUrl": "http://boot.example.org/a.ipxe"}},
        ),
    ],
    ids=["the defaults", "odd paths"],
)
def test_systemd_finds_nothing_wrong_with_the_unit(
    build_host: Callable[..., Path], options: dict[str, Any], require_tool: Callable[[str, str], str]
) -> None:
    analyze = require_tool("systemd-analyze", "install systemd")
    unit = build_host("unit", options) / "every-channel-ipxe-qemu.service"
    argv = [analyze, "verify", "--man=no", "--recursive-errors=no", str(unit)]
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    mine = [line for line in done.stderr.splitlines() if "ipxe-qemu" in line]
    assert (done.returncode, mine) == (0, [])


def make_directories(root: Path, rules: Path, tmpfiles: str) -> None:
    """Do what systemd-tmpfiles does with ``rules`` below ``root``, where the service's user is 4321."""
    (root / "etc").mkdir(exist_ok=True)
    (root / "etc/passwd").write_text(f"root:x:0:0::/:/bin/sh\n{UNIT}:x:4321:4321::/:/bin/sh\n")
    (root / "etc/group").write_text(f"root:x:0:\n{UNIT}:x:4321:\n")
    argv = [tmpfiles, "--create", f"--root={root}", str(rules / f"lib/tmpfiles.d/10-{UNIT}.conf")]
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def owner(path: Path) -> tuple[int, int, int]:
    found = path.lstat()
    return found.st_uid, found.st_gid, found.st_mode & 0o777


@pytest.mark.parametrize(
    ("options", "directories"),
    [
        ({}, [DEFAULT_STATE, f"{DEFAULT_STATE}/tftp"]),
        ({"stateDir": ODD}, [ODD, f"{ODD}/tftp"]),
        (
            merge(
                {"stateDir": "/vm", "disk": {"path": "/srv/vm/disk"}},
                {"boot": {"userNet": {"tftpDir": "/vm"}}},
            ),
            ["/vm", "/srv/vm"],
        ),
    ],
)
def test_the_directories_are_made_for_the_services_user(
    build_host: Callable[..., Path],
    options: dict[str, Any],
    directories: list[str],
    tmp_path: Path,
    require_tool: Callable[[str, str], str],
) -> None:
    tmpfiles = require_root_and(require_tool)
    make_directories(tmp_path, build_host("tmpfilesPackage", merge(ROOT, options)), tmpfiles)
    for directory in directories:
        assert owner(tmp_path / directory.lstrip("/")) == (4321, 4321, 0o750)


def test_what_a_runner_made_as_root_is_handed_over_and_nothing_beside_it(
    build_host: Callable[..., Path], tmp_path: Path, require_tool: Callable[[str, str], str]
) -> None:
    tmpfiles = require_root_and(require_tool)
    state, shared = tmp_path / DEFAULT_STATE.lstrip("/"), tmp_path / "srv/disks"
    (state / "tftp").mkdir(parents=True)
    shared.mkdir(parents=True)
    for file in (state / "disk.qcow2", state / "tftp/undionly.kpxe", tmp_path / "precious"):
        file.touch(mode=0o644)
    (state / "link").symlink_to("../../../../precious")
    rules = build_host("tmpfilesPackage", merge(ROOT, {"disk": {"path": "/srv/disks/other.qcow2"}}))
    for _ in range(2):
        make_directories(tmp_path, rules, tmpfiles)
        assert owner(state / "disk.qcow2")[:2] == owner(state / "tftp/undionly.kpxe")[:2] == (4321, 4321)
        assert owner(tmp_path / "precious") == (0, 0, 0o644)
        assert owner(shared) == (0, 0, 0o755)
        assert owner(state.parent)[:2] == (0, 0)


def require_root_and(require_tool: Callable[[str, str], str]) -> str:
    if os.geteuid() != 0:
        give_up("only root can give files to another user")
    return require_tool("systemd-tmpfiles", "install systemd")
