"""The module ec-ipxe-qemu, evaluated and built as a host's configuration."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.nix

HOST = Path(__file__).parent / "host.nix"
OPTION = "services.every-channel.ipxe-qemu"
ROOT = {"boot": {"http": {"root": "/srv/netboot/current"}}}

Nix = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture(scope="session")
def nix(nixpkgs: Path, nix_env: Mapping[str, str]) -> Nix:
    """``nix(program, attribute, options)``: host.nix with the guest enabled and these options of it."""

    def call(program: list[str], attribute: str, options: dict[str, Any]) -> subprocess.CompletedProcess[str]:
        config = {"services": {"every-channel": {"ipxe-qemu": {"enable": True, **options}}}}
        given = ["--argstr", "nixpkgs", str(nixpkgs), "--argstr", "config", json.dumps(config)]
        argv = [*program, str(HOST), *given, "-A", attribute]
        return subprocess.run(
            argv, env=dict(nix_env), capture_output=True, text=True, timeout=300, check=False
        )

    return call


@pytest.fixture(scope="session")
def evaluate(nix: Nix) -> Callable[[str, dict[str, Any]], Any]:
    def call(attribute: str, options: dict[str, Any]) -> Any:
        done = nix(
            ["nix-instantiate", "--eval", "--strict", "--json", "--read-write-mode"], attribute, options
        )
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    return call


@pytest.fixture(scope="session")
def build(nix: Nix) -> Callable[[str, dict[str, Any]], Path]:
    def call(attribute: str, options: dict[str, Any]) -> Path:
        done = nix(["nix-build", "--no-out-link"], attribute, options)
        assert done.returncode == 0, done.stderr
        return Path(done.stdout.strip())

    return call


@pytest.fixture(scope="session")
def unit(build: Callable[..., Path]) -> Path:
    """The built unit file of a host with the defaults."""
    return build("unit", ROOT) / "every-channel-ipxe-qemu.service"


def merge(*parts: dict[str, Any]) -> dict[str, Any]:
    merged: dict[str, Any] = {}
    for part in parts:
        for key, value in part.items():
            nested = isinstance(value, dict) and isinstance(merged.get(key), dict)
            merged[key] = merge(merged[key], value) if nested else value
    return merged


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
    evaluate: Any, options: dict[str, Any], message: str
) -> None:
    assert evaluate("failed", options) == [f"{OPTION}.{message}"]


@pytest.mark.parametrize(
    "options",
    [
        ROOT,
        {"boot": {"http": {"enable": False}}},
        merge(ROOT, {"lan": {"enable": True, "macvtap": {"interface": "eth0"}}}),
    ],
)
def test_no_assertion_fires_without_a_fault(evaluate: Any, options: dict[str, Any]) -> None:
    assert evaluate("failed", options) == []


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
    nix: Nix, options: dict[str, Any], attribute: str
) -> None:
    done = nix(["nix-instantiate"], "unit", merge(ROOT, options))
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
    nix: Nix, options: dict[str, Any], attribute: str
) -> None:
    done = nix(["nix-build", "--no-out-link"], "settings", merge(ROOT, options))
    assert done.returncode != 0
    assert f"{OPTION}.{attribute}" in done.stderr


def test_kvm_off_reaches_machine_and_cpu(evaluate: Any) -> None:
    on = evaluate("config.services.every-channel.ipxe-qemu", ROOT)
    off = evaluate("config.services.every-channel.ipxe-qemu", merge(ROOT, {"enableKvm": False}))
    assert (on["machine"], on["cpu"]) == ("q35,accel=kvm", "host")
    assert (off["machine"], off["cpu"]) == ("q35,accel=tcg", "max")


def test_disabled_leaves_no_unit_no_user_and_no_folder_rule(evaluate: Any) -> None:
    for attribute in ("units", "tmpfiles", "users"):
        found = evaluate(attribute, {"enable": False})
        assert not [name for name in found if "ipxe-qemu" in name]


def test_the_unit_says_what_the_interface_promises(unit: Path) -> None:
    text = unit.read_text()
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


def test_more_memory_changes_the_settings_but_not_the_boot_file(evaluate: Any) -> None:
    small = evaluate("config.services.every-channel.ipxe-qemu", merge(ROOT, {"memoryMiB": 512}))
    large = evaluate("config.services.every-channel.ipxe-qemu", merge(ROOT, {"memoryMiB": 1024}))
    assert small["boot"]["userNet"]["bootFile"] == large["boot"]["userNet"]["bootFile"]


def test_the_settings_file_holds_every_option_but_enable(build: Callable[..., Path], evaluate: Any) -> None:
    written = json.loads(build("settings", ROOT).read_text())
    options = evaluate("config.services.every-channel.ipxe-qemu", ROOT)
    assert written == {name: value for name, value in options.items() if name != "enable"}


def test_the_chain_token_comes_as_a_credential_and_stays_out_of_the_boot_file(
    build: Callable[..., Path],
) -> None:
    token = {"chainTokenFile": "/run/secrets/chain-token", "chainUrl": "http://boot.example.org/a.ipxe"}
    options = merge(ROOT, {"boot": token})
    text = (build("unit", options) / "every-channel-ipxe-qemu.service").read_text()
    assert "LoadCredential=chain-token:/run/secrets/chain-token" in text.splitlines()
    assert json.loads(build("settings", options).read_text())["boot"]["userNet"]["bootFile"] is None


@pytest.mark.parametrize(
    "options",
    [ROOT, merge(ROOT, {"lan": {"enable": True, "macvtap": {"interface": "eth0"}}})],
    ids=["user-mode network", "with a LAN"],
)
def test_exposure_is_at_most_4(
    build: Callable[..., Path], options: dict[str, Any], require_tool: Callable[[str, str], str]
) -> None:
    analyze = require_tool("systemd-analyze", "install systemd")
    unit = build("unit", options) / "every-channel-ipxe-qemu.service"
    argv = [analyze, "security", "--offline=true", "--threshold=40", "--no-pager", str(unit)]
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-600:]
    (exposure,) = re.findall(r"exposure level for \S+: ([\d.]+)", done.stdout)
    assert float(exposure) <= 4.0


def test_systemd_finds_nothing_wrong_with_the_unit(
    unit: Path, require_tool: Callable[[str, str], str]
) -> None:
    analyze = require_tool("systemd-analyze", "install systemd")
    argv = [analyze, "verify", "--man=no", "--recursive-errors=no", str(unit)]
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    mine = [line for line in done.stderr.splitlines() if "ipxe-qemu" in line]
    assert (done.returncode, mine) == (0, [])
