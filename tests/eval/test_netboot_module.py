"""The module ec-netboot: what it refuses, opens, makes and leaves."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from support.hosts import merge
from support.needs import give_up
from support.netboot_hosts import (
    EVERYTHING,
    LISTEN,
    ODD,
    OPTION,
    PROXY,
    REMOTE,
    STATE,
    UNIT,
    host,
)
from support.variants import Variants

from ectools.netboot.settings.kernel_settings import list_kernel_settings
from ectools.netboot.settings.load import load_netboot_settings

pytestmark = pytest.mark.nix

HIDDEN = "must not be below /home, /root, /run/user, /tmp, /var/tmp, which the service does not see"
BOOT_NAMES = (
    "a name has letters, digits and . _ + -, below up to 7 directories where wanted, and at most 127 "
    "characters"
)
ONE_NAME = "two files cannot have one name, whatever its case; tftpBootFilename is one of them"
# What is wrong, and the one message that says so.
FAULTS: list[tuple[dict[str, Any], str]] = [
    ({}, "listenIP must be set: this host's IPv4 address on the clients' network"),
    (
        merge(LISTEN, {"proxyDhcp": {"enable": True}}),
        "proxyDhcp.subnet must be set when proxyDhcp.enable is true",
    ),
    *(
        (
            merge(LISTEN, {"proxyDhcp": {"enable": True, "subnet": subnet}}),
            f"proxyDhcp.subnet must be the clients' network: no client is in {subnet}",
        )
        for subnet in ("0.0.0.0/0", "192.0.2.10/31", "127.0.0.0/8", "224.0.0.0/4", "010.0.0.0/00")
    ),
    (
        merge(LISTEN, {"proxyDhcp": {"subnets": ["198.51.100.0/24", "240.0.0.0/4"]}}),
        "proxyDhcp.subnets must be the clients' network: no client is in 240.0.0.0/4",
    ),
    (
        merge(LISTEN, {"ipxe": {"strategy": "local"}}),
        'ipxe.localFile must be set when ipxe.strategy is "local"',
    ),
    (
        merge(REMOTE, {"ipxe": {"remoteUrl": None}}),
        'ipxe.remoteUrl must be set when ipxe.strategy is "remote"',
    ),
    (
        merge(REMOTE, {"ipxe": {"remoteSha256": None}}),
        'ipxe.remoteSha256 must be set when ipxe.strategy is "remote"',
    ),
    (
        merge(LISTEN, {"ipxe": {"strategy": "embedded", "embeddedFile": None}}),
        'ipxe.embeddedFile must be set when ipxe.strategy is "embedded"',
    ),
    (
        merge(LISTEN, {"ipxe": {"strategy": "embedded"}, "chainTokenFile": "/run/token"}),
        (
            'ipxe.strategy must not be "embedded" when chainTokenFile is set: '
            "the script with the token would be in the Nix store, which everyone can read"
        ),
    ),
    (
        merge(LISTEN, {"release": {"signature": {"format": "minisign"}}}),
        "release.signature.publicKeyFile must be set when release.signature.format is set",
    ),
    (
        merge(LISTEN, {"release": {"signature": {"publicKeyFile": "/etc/key"}}}),
        "release.signature.format must be set when release.signature.publicKeyFile is set",
    ),
    (
        merge(LISTEN, {"release": {"tag": "boot-v1", "tarball": "/srv/a.tar.gz"}}),
        "release.tag must be null when release.tarball is set: a tarball takes the release's place",
    ),
    (
        merge(LISTEN, {"ipxe": {"arm64File": "/a"}, "release": {"systems": ["ec-runner-x86_64-netboot"]}}),
        (
            "release.systems must name a system for aarch64 when ipxe.arm64File is set: "
            "its machines would be let in, and there would be nothing for them"
        ),
    ),
    (
        merge(LISTEN, {"chainTokenFile": "/nix/store/0000-token"}),
        "chainTokenFile must not be in the Nix store, which everyone can read",
    ),
    (
        merge(LISTEN, {"fleet": {"accessTokenFile": "/nix/store/0000-token"}}),
        "fleet.accessTokenFile must not be in the Nix store, which everyone can read",
    ),
    *(
        (
            merge(options, {"fleet": {"groups": {"g": {"bootBinary": "snponly"}}}}),
            (
                'fleet.groups: bootBinary takes proxyDhcp.enable and ipxe.strategy "autoexec": '
                "DHCP says which machine gets which"
            ),
        )
        for options in (LISTEN, merge(PROXY, REMOTE))
    ),
    (
        merge(LISTEN, {"fleet": {"allowedHosts": ["a.example"], "listen": None}}),
        "fleet.listen must be set when fleet.allowedHosts is: nothing is asked for by a name",
    ),
    (
        merge(LISTEN, {"fleet": {"accessTokenFile": "/run/token", "listen": None}}),
        "fleet.listen must be set when fleet.accessTokenFile is set: nobody could send the token",
    ),
    (
        merge(LISTEN, {"release": {"tokenFile": "/nix/store/0000-token"}}),
        "release.tokenFile must not be in the Nix store, which everyone can read",
    ),
    *(
        (
            merge(LISTEN, {"ipxe": {"extraFiles": dict.fromkeys(names, "/srv/a")}}),
            f"ipxe.extraFiles: {found}: {rule}",
        )
        for names, found, rule in (
            (["../a", "b c", "ok"], '"../a", "b c"', BOOT_NAMES),
            (["a" * 128], f'"{"a" * 128}"', BOOT_NAMES),
            (["1/2/3/4/5/6/7/8/9"], '"1/2/3/4/5/6/7/8/9"', BOOT_NAMES),
            (["Releases/a"], '"Releases/a"', "the boot server has something of its own there"),
            (["netboot.ipxe"], '"netboot.ipxe"', "the boot server has something of its own there"),
            (["sb/Autoexec.ipxe"], '"sb/Autoexec.ipxe"', "the boot server has something of its own there"),
            (["sb/A", "sb/a"], '"sb/a"', ONE_NAME),
            (["EC-ipxe.efi"], '"ec-ipxe.efi"', ONE_NAME),
            (["undionly.kpxe"], '"undionly.kpxe"', ONE_NAME),
            (["a/b", "A"], '"a"', "a directory cannot have the name of a file"),
        )
    ),
    (merge(LISTEN, {"ipxe": {"extraFiles": {"a": "/tmp/b"}}}), f'ipxe.extraFiles."a" {HIDDEN}'),
    (merge(LISTEN, {"release": {"caFile": "/root/ca.pem"}}), f"release.caFile {HIDDEN}"),
    *(
        (
            merge(LISTEN, {"stateDir": shared}),
            "stateDir must be a directory of the service's own, because it is given to the service's user",
        )
        for shared in ("/srv/", "//etc/.", "/etc/ssh", "/var/lib/every-channel")
    ),
]
FINE = [
    merge(
        LISTEN,
        {"tftpBootFilename": "x86_64-sb/shimx64.efi", "release": {"caFile": "/etc/ssl/private-ca.pem"}},
        {"ipxe": {"strategy": "local", "localFile": "/srv/shim", "remoteCaFile": "/root/not-used"}},
        {"ipxe": {"extraFiles": {"x86_64-sb/grubx64.efi": "/srv/grub", "grub/grub.cfg": "/srv/cfg"}}},
    ),
    LISTEN,
    EVERYTHING,
    REMOTE,
    merge(LISTEN, {"ipxe": {"strategy": "embedded", "localFile": "/tmp/not-used"}}),
    merge(LISTEN, {"proxyDhcp": {"subnet": "192.0.2.0/24"}, "release": {"tokenFile": "/root/token"}}),
    *(
        merge(LISTEN, {"ipxe": {"arm64File": "/a"}, "release": {"systems": systems}})
        for systems in ([], ["ec-runner-aarch64-netboot", "ec-runner-x86_64-netboot"], ["a-x86_64", "any"])
    ),
]
UNSEEN = merge(
    LISTEN,
    {"stateDir": "/home/netboot", "release": {"tarball": ["/srv/b.tar.gz", "/tmp/a.tar.gz"]}},
    {"release": {"signature": {"format": "minisign", "publicKeyFile": "/root/key"}}},
    {"fleet": {"file": "/home/a/fleet.toml"}},
    {"ipxe": {"strategy": "local", "localFile": "/var/tmp/a.efi", "ia32File": "/run/user/1/b.efi"}},
)


def test_each_assertion_fires_alone_in_its_words(variants: Variants) -> None:
    found = variants.evaluate(["failed"], [host(options) for options, _ in FAULTS])
    assert [each["failed"] for each in found] == [[f"{OPTION}.{message}"] for _, message in FAULTS]


DNSMASQ_OF_VERSION = """
  {{ nixpkgs, config }}:
  let
    system = import {tests}/system.nix {{ inherit nixpkgs config; }};
    inherit (system.pkgs) lib;
    path = "services.every-channel.netboot";
    assertionsWith = dnsmasqVersion: import {modules}/ec-netboot-assertions.nix {{
      inherit dnsmasqVersion lib path;
      cfg = system.config.services.every-channel.netboot;
      options = system.options.services.every-channel.netboot;
      directories = import {modules}/directories.nix {{
        inherit lib path;
        user = "every-channel-netboot";
      }};
    }};
  in
  map (version: map (each: each.message) (lib.filter (each: !each.assertion) (assertionsWith version)))
    [ "2.91" "2.92" "2.92rc1" "2.920" "2.93" ]
"""


def test_a_dnsmasq_whose_proxy_dhcp_is_wrong_is_refused(nixpkgs: Path, nix_env: Mapping[str, str]) -> None:
    options = merge(LISTEN, {"proxyDhcp": {"enable": True, "subnet": "192.0.2.0/24"}})
    tests = Path(__file__).parent
    modules = tests.parent.parent / "nix" / "modules"
    expression = DNSMASQ_OF_VERSION.format(tests=tests, modules=modules)
    argv = ["nix-instantiate", "--eval", "--strict", "--json", "--read-write-mode", "--expr", expression]
    argv += ["--argstr", "nixpkgs", str(nixpkgs), "--argstr", "config", json.dumps(host(options))]
    done = subprocess.run(argv, env=dict(nix_env), capture_output=True, text=True, timeout=600, check=False)
    assert done.returncode == 0, done.stderr
    message = (
        "proxyDhcp.enable: dnsmasq {} sends the answers of UDP port 4011 to the wrong port, "
        "and UEFI clients get no boot file: take 2.93, or 2.91"
    )
    wrong = [[f"{OPTION}.{message.format(version)}"] for version in ("2.92", "2.92rc1")]
    assert json.loads(done.stdout) == [[], *wrong, [], []]


def test_no_assertion_fires_without_a_fault(variants: Variants) -> None:
    named = [host({"hostname": "192.0.2.10", **options}) for options in FINE]
    found = variants.evaluate(["failed", "warnings"], named)
    assert found == [{"failed": [], "warnings": []}] * len(FINE)


def test_a_tarball_that_leaves_machines_without_a_system_is_warned_of(variants: Variants) -> None:
    pc, arm = (f"/srv/ec-runner-{name}-netboot-boot-v1.tar.gz" for name in ("x86_64", "aarch64"))
    cases = [
        host(
            merge(
                LISTEN,
                {"hostname": "192.0.2.10", "ipxe": {"arm64File": "/a"}, "release": {"tarball": tarball}},
            )
        )
        for tarball in (pc, [pc], [pc, arm], "/srv/any.tar.gz", None)
    ]
    warning = (
        f"{OPTION}.ipxe.arm64File lets machines in, and release.tarball has nothing for them: "
        "they will be told so, and boot nothing"
    )
    found = [each["warnings"] for each in variants.evaluate(["warnings"], cases)]
    assert [warning in each for each in found] == [True, True, False, False, False]


def test_files_that_the_service_cannot_see_are_refused_by_their_options(variants: Variants) -> None:
    (found,) = variants.evaluate(["failed"], [host(UNSEEN)])
    options = (
        "fleet.file",
        "ipxe.ia32File",
        "ipxe.localFile",
        "release.signature.publicKeyFile",
        "release.tarball",
    )
    assert found["failed"] == [f"{OPTION}.{option} {HIDDEN}" for option in (*options, "stateDir")]


def test_disabled_leaves_nothing(variants: Variants) -> None:
    off, on = variants.evaluate(["left", "firewall"], [host({"enable": False}), host(EVERYTHING)])
    assert off["left"]["units"] == off["left"]["users"] == off["left"]["files"] == []
    assert not [name for name in off["left"]["tmpfiles"] if "every-channel" in name]
    assert off["firewall"] == {"tcp": [], "udp": [], "interfaces": {}}
    assert on["left"]["users"] == [UNIT, f"{UNIT}-dnsmasq"]
    assert on["left"]["files"] == ["every-channel/netboot.json"]


def test_the_firewall_opens_what_is_served_where_it_is_served(variants: Variants) -> None:
    nothing: dict[str, list[int]] = {"tcp": [], "udp": []}
    uplink = {"interface": "enp3s0"}
    cases: list[tuple[dict[str, Any], dict[str, Any]]] = [
        (LISTEN, {"tcp": [8080], "udp": [69], "interfaces": {}}),
        (merge(PROXY, {"httpPort": 80}), {"tcp": [80], "udp": [67, 69, 4011], "interfaces": {}}),
        (
            merge(PROXY, uplink),
            {**nothing, "interfaces": {"enp3s0": {"tcp": [8080], "udp": [67, 69, 4011]}}},
        ),
        (merge(PROXY, {"openFirewall": False}), {**nothing, "interfaces": {}}),
        (merge(PROXY, uplink, {"openFirewall": False}), {**nothing, "interfaces": {}}),
    ]
    found = variants.evaluate(["firewall"], [host(options) for options, _ in cases])
    assert [each["firewall"] for each in found] == [expected for _, expected in cases]


def test_kernel_settings_are_the_programs_unless_something_else_sets_them(
    variants: Variants, tmp_path: Path
) -> None:
    buffer, kept, most = "net.core.rmem_default", *(f"net.ipv4.neigh.default.gc_thresh{n}" for n in "23")
    own = {"boot": {"kernel": {"sysctl": {buffer: 5000, most: 6000}}}}
    sized = merge(LISTEN, {"tftp": {"receiveBuffer": 4242}, "maxNeighbours": 2001})
    unset = merge(LISTEN, {"tftp": {"receiveBuffer": None}, "maxNeighbours": None})
    text = {"boot": {"kernel": {"sysctl": {most: "2048"}}}}
    configs = [host(LISTEN), host(sized), host(unset), merge(host(sized), own), merge(host(LISTEN), text)]
    found = [each["sysctl"] for each in variants.evaluate(["sysctl"], configs)]
    assert found[0] == {buffer: 8388608, kept: 4096, most: 8192}
    # Of what the host has, whoever says so: above it, gc_thresh2 would count for nothing.
    others = [{buffer: 5000, kept: 3000, most: 6000}, {buffer: 8388608, kept: 1024, most: "2048"}]
    assert found[1:] == [{buffer: 4242, kept: 1000, most: 2001}, {}, *others]
    for options, made in zip((LISTEN, sized, unset), found, strict=False):
        file = tmp_path / "host.json"
        file.write_text(json.dumps(options))
        assert list_kernel_settings(load_netboot_settings(file, environment={})) == made


@pytest.mark.parametrize("state", [STATE, ODD])
def test_the_directories_are_made_for_the_services_user(
    variants: Variants, state: str, tmp_path: Path, require_tool: Callable[[str, str], str]
) -> None:
    if os.geteuid() != 0:
        give_up("only root can give files to another user")
    tmpfiles = require_tool("systemd-tmpfiles", "install systemd")
    rules = variants.build(f'tmpfilesPackages."10-{UNIT}.conf"', host(merge(LISTEN, {"stateDir": state})))
    made_by_root = tmp_path / state.lstrip("/") / "releases"
    made_by_root.mkdir(parents=True)
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc/passwd").write_text(f"root:x:0:0::/:/bin/sh\n{UNIT}:x:4321:4321::/:/bin/sh\n")
    (tmp_path / "etc/group").write_text(f"root:x:0:\n{UNIT}:x:4321:\n")
    argv = [tmpfiles, "--create", f"--root={tmp_path}", str(rules / f"lib/tmpfiles.d/10-{UNIT}.conf")]
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    for directory in (state, f"{state}/tftp"):
        found = (tmp_path / directory.lstrip("/")).stat()
        assert (found.st_uid, found.st_gid, found.st_mode & 0o777) == (4321, 4321, 0o750)
    assert made_by_root.stat().st_uid == 4321


def test_the_module_works_by_itself(variants: Variants) -> None:
    """``imports = [ …/nix/modules/ec-netboot.nix ]``, without the flake and its other modules."""
    module = Path(__file__).parents[2] / "nix/modules/ec-netboot.nix"
    expression = f"""
      let flake = builtins.getFlake "path:{variants.nixpkgs}"; in
      (flake.lib.nixosSystem {{
        system = "x86_64-linux";
        modules = [ {module} {{
          system.stateVersion = "26.05";
          services.every-channel.netboot = {{ enable = true; listenIP = "192.0.2.10"; }};
        }} ];
      }}).config.systemd.units."{UNIT}.service".text
    """
    argv = ["nix-instantiate", "--eval", "--read-write-mode", "--expr", expression]
    done = subprocess.run(argv, env=dict(variants.env), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "netboot serve --config /etc/every-channel/netboot.json" in done.stdout


def test_the_default_name_is_a_warning_unless_it_is_this_host(variants: Variants) -> None:
    this = {"networking": {"hostName": "boot", "domain": "every.channel"}}
    hosts = [host(LISTEN), merge(host(LISTEN), this), host({**LISTEN, "hostname": "192.0.2.10"})]
    default, here, set_to_address = (found["warnings"] for found in variants.evaluate(["warnings"], hosts))
    assert [text for text in default if ".netboot.hostname is its default, boot.every.channel" in text]
    assert not [text for text in here + set_to_address if "netboot.hostname" in text]


def test_two_servers_at_one_address_are_refused_or_warned_of(variants: Variants) -> None:
    """Each by itself is right; what listens on all addresses leaves none of its port."""

    def add_prometheus(listen: str, **options: Any) -> dict[str, Any]:
        with_fleet = host({**LISTEN, "fleet": {"listen": listen}})
        # The placeholder packages of a nixpkgs for evaluation have no promtool.
        prometheus = {"enable": True, "checkConfig": False, **options}
        return merge(with_fleet, {"services": {"prometheus": prometheus}})

    def add_guest(http: dict[str, Any], listen: str = "127.0.0.1:9090") -> dict[str, Any]:
        boot = {"http": {"root": "/srv/netboot", **http}, "chainUrl": "http://a/x"}
        guest = {"services": {"every-channel": {"ipxe-qemu": {"enable": True, "boot": boot}}}}
        return merge(host({**LISTEN, "fleet": {"listen": listen}}), guest)

    cases = [
        (add_prometheus("127.0.0.1:9090"), "fleet.listen is where services.prometheus listens, on 0.0.0.0: "),
        (add_prometheus("192.0.2.10:9090", listenAddress="192.0.2.10"), "fleet.listen is where "),
        (add_prometheus("127.0.0.1:9090", listenAddress="192.0.2.10"), None),
        (add_prometheus("127.0.0.1:9090", port=9095), None),
        (add_guest({"bindIp": "0.0.0.0"}), "boot.http listens where netboot.httpPort does: set "),
        (add_guest({"port": 9090}), "boot.http listens where netboot.fleet.listen does: set "),
        (add_guest({"bindIp": "0.0.0.0", "port": 8081}, "[::1]:8081"), None),
        (add_guest({}), None),
    ]
    found = variants.evaluate(["failed", "warnings"], [config for config, _ in cases])
    for (config, expected), each in zip(cases, found, strict=True):
        told = [text for text in each["failed"] + each["warnings"] if " listens" in text]
        assert [expected is not None and expected in text for text in told] == [True] * bool(expected), config
