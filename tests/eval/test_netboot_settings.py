"""The settings file of ec-netboot, built and checked, and what is made of it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from support.hosts import merge
from support.needs import give_up, require_tool
from support.netboot_hosts import (
    LISTEN,
    OPTION,
    PROXY,
    SETTINGS,
    host,
)
from support.variants import EXPRESSION, Variants

pytestmark = pytest.mark.nix


def test_the_settings_file_holds_all_but_what_only_nixos_acts_upon(variants: Variants) -> None:
    options = merge(PROXY, {"release": {"refresh": "Mon 04:00"}})
    written = json.loads(variants.build(SETTINGS, host(options)).read_text())
    (found,) = variants.evaluate(["options"], [host(options)])
    expected = found["options"]["netboot"]
    del expected["enable"], expected["openFirewall"], expected["release"]["refresh"]
    assert written == expected


@pytest.mark.parametrize(
    ("wrong", "option"),
    [
        ({"listenIP": "192.0.2.300"}, "listenIP"),
        ({"hostname": "two words"}, "hostname"),
        ({"httpAllowedCIDRs": ["192.0.2.1/24"]}, "httpAllowedCIDRs[0]"),
        ({"proxyDhcp": {"enable": True, "subnet": "198.51.100.0/24"}}, "proxyDhcp.subnet"),
        (
            {"proxyDhcp": {"enable": True, "subnet": "192.0.2.0/24", "subnets": ["192.0.2.0/25"]}},
            "proxyDhcp.subnets[0]",
        ),
        ({"release": {"refresh": "whenever"}}, "release.refresh"),
        ({"stateDir": "netboot"}, "stateDir"),
        ({"stateDir": "/srv/netboot/../../etc"}, "stateDir"),
    ],
)
def test_a_value_that_only_the_program_can_judge_fails_the_build_with_its_option(
    variants: Variants, wrong: dict[str, Any], option: str
) -> None:
    done = variants.try_build(SETTINGS, host(merge(LISTEN, wrong)))
    assert done.returncode != 0
    assert f"{OPTION}.{option}" in done.stderr


def find_udp_ports(settings: Path, directory: Path) -> set[int]:
    """The UDP ports that dnsmasq listens on with the configuration that these settings make."""
    if os.geteuid() != 0:
        give_up("only root can make a network namespace")
    dnsmasq = require_tool("dnsmasq", "install dnsmasq (Debian: dnsmasq-base)")
    for name in ("autoexec.ipxe", "ec-ipxe.efi"):
        (directory / "tftp").mkdir(parents=True, exist_ok=True)
        (directory / "tftp" / name).touch()
    ectools = [sys.executable, "-m", "ectools.cli.main", "netboot", "serve", "--print-dnsmasq"]
    argv = [*ectools, "--config", str(settings), "--state-dir", str(directory)]
    configuration = subprocess.run(argv, capture_output=True, text=True, check=True).stdout
    (directory / "dnsmasq.conf").write_text(configuration)
    namespace = f"ec-ports-{os.getpid()}"
    inside = ["ip", "netns", "exec", namespace]
    subprocess.run(["ip", "netns", "add", namespace], check=True)
    try:
        for words in (
            ["link", "add", "lan0", "type", "bridge"],
            ["address", "add", "192.0.2.10/24", "dev", "lan0"],
            ["link", "set", "lan0", "up"],
        ):
            subprocess.run(["ip", "-netns", namespace, *words], check=True)
        with subprocess.Popen(
            [*inside, dnsmasq, f"--conf-file={directory}/dnsmasq.conf", "--user=root"],
            stderr=subprocess.PIPE,
            text=True,
        ) as process:
            try:
                assert process.stderr is not None
                # Its sockets are there before it says that TFTP has its directory.
                assert any("TFTP root is" in line for line in process.stderr)
                listing = subprocess.run([*inside, "ss", "-Hlun"], capture_output=True, text=True, check=True)
            finally:
                process.kill()
    finally:
        subprocess.run(["ip", "netns", "delete", namespace], check=True)
    return {int(line.split()[3].rpartition(":")[2]) for line in listing.stdout.splitlines()}


@pytest.mark.netns
@pytest.mark.parametrize("options", [LISTEN, PROXY], ids=["UniFi only", "ProxyDHCP"])
def test_the_firewall_opens_the_ports_that_dnsmasq_has(
    variants: Variants, options: dict[str, Any], tmp_path: Path
) -> None:
    (found,) = variants.evaluate(["firewall"], [host(options)])
    settings = variants.build(SETTINGS, host(options))
    assert find_udp_ports(settings, tmp_path) == set(found["firewall"]["udp"])
    assert found["firewall"]["tcp"] == [json.loads(settings.read_text())["httpPort"]]


def test_the_embedded_binary_has_the_script_of_the_settings(variants: Variants, tmp_path: Path) -> None:
    options = merge(
        LISTEN,
        {"hostname": "192.0.2.10", "httpPort": 8081, "mirrors": ["https://mirror.example.org/netboot"]},
        {"ipxe": {"strategy": "embedded", "attempts": 7, "onFailure": "reboot", "rebootSeconds": 3}},
    )
    # In the place of an iPXE that Nix builds: one that is nothing but its script.
    expression = f"""
      let
        flake = builtins.getFlake "path:{variants.nixpkgs}";
        inherit (flake.legacyPackages.x86_64-linux) hello runCommand;
        build = script: runCommand "ipxe" {{ }} "mkdir $out && cp ${{script}} $out/ipxe.efi";
        package = hello // {{ override = {{ embedScript }}: build embedScript; }};
      in (import {EXPRESSION.parent}/system.nix {{
        nixpkgs = "{variants.nixpkgs}";
        config = builtins.readFile {tmp_path}/config.json;
        modules = [ {{ services.every-channel.netboot.ipxe = {{ inherit package; }}; }} ];
      }}).config.environment.etc."every-channel/netboot.json".source
    """
    (tmp_path / "config.json").write_text(json.dumps(host(options)))
    argv = ["nix-build", "--no-out-link", "--expr", expression]
    done = subprocess.run(argv, env=dict(variants.env), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    settings = Path(done.stdout.strip())
    embedded = Path(json.loads(settings.read_text())["ipxe"]["embeddedFile"])
    ectools = [sys.executable, "-m", "ectools.cli.main", "netboot", "ipxe", "--print", "autoexec"]
    printed = subprocess.run([*ectools, "--config", str(settings)], capture_output=True, check=True)
    assert embedded.read_bytes() == printed.stdout
    assert b"mirror.example.org" in printed.stdout
