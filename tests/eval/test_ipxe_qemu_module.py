"""The module ec-ipxe-qemu, evaluated and built as a host's configuration."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from support.hosts import ROOT, Nix, merge

pytestmark = pytest.mark.nix

OPTION = "services.every-channel.ipxe-qemu"


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
    ],
)
def test_each_assertion_fires_alone_in_its_words(
    evaluate_host: Any, options: dict[str, Any], message: str
) -> None:
    assert evaluate_host("failed", options) == [f"{OPTION}.{message}"]


@pytest.mark.parametrize(
    "options",
    [
        ROOT,
        {"boot": {"http": {"enable": False}}},
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


def test_disabled_leaves_no_unit_no_user_and_no_folder_rule(evaluate_host: Any) -> None:
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


def test_more_memory_changes_the_settings_but_not_the_boot_file(evaluate_host: Any) -> None:
    small = evaluate_host("config.services.every-channel.ipxe-qemu", merge(ROOT, {"memoryMiB": 512}))
    large = evaluate_host("config.services.every-channel.ipxe-qemu", merge(ROOT, {"memoryMiB": 1024}))
    assert small["boot"]["userNet"]["bootFile"] == large["boot"]["userNet"]["bootFile"]


def test_the_settings_file_holds_every_option_but_enable(
    build_host: Callable[..., Path], evaluate_host: Any
) -> None:
    written = json.loads(build_host("settings", ROOT).read_text())
    options = evaluate_host("config.services.every-channel.ipxe-qemu", ROOT)
    assert written == {name: value for name, value in options.items() if name != "enable"}


def test_the_chain_token_comes_as_a_credential_and_stays_out_of_the_boot_file(
    build_host: Callable[..., Path],
) -> None:
    token = {"chainTokenFile": "/run/secrets/chain-token", "chainUrl": "http://boot.example.org/a.ipxe"}
    options = merge(ROOT, {"boot": token})
    text = (build_host("unit", options) / "every-channel-ipxe-qemu.service").read_text()
    assert "LoadCredential=chain-token:/run/secrets/chain-token" in text.splitlines()
    assert json.loads(build_host("settings", options).read_text())["boot"]["userNet"]["bootFile"] is None


@pytest.mark.parametrize(
    "options",
    [ROOT, merge(ROOT, {"lan": {"enable": True, "macvtap": {"interface": "eth0"}}})],
    ids=["user-mode network", "with a LAN"],
)
def test_exposure_is_at_most_4(
    build_host: Callable[..., Path], options: dict[str, Any], require_tool: Callable[[str, str], str]
) -> None:
    analyze = require_tool("systemd-analyze", "install systemd")
    unit = build_host("unit", options) / "every-channel-ipxe-qemu.service"
    argv = [analyze, "security", "--offline=true", "--threshold=40", "--no-pager", str(unit)]
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-600:]
    (exposure,) = re.findall(r"exposure level for \S+: ([\d.]+)", done.stdout)
    assert float(exposure) <= 4.0


def test_systemd_finds_nothing_wrong_with_the_unit(
    host_unit: Path, require_tool: Callable[[str, str], str]
) -> None:
    analyze = require_tool("systemd-analyze", "install systemd")
    argv = [analyze, "verify", "--man=no", "--recursive-errors=no", str(host_unit)]
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    mine = [line for line in done.stderr.splitlines() if "ipxe-qemu" in line]
    assert (done.returncode, mine) == (0, [])
