"""``ectools service`` and the modules make the same units, users and directories of the same options."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from support.hosts import ROOT, merge
from support.netboot_hosts import EVERYTHING, LISTEN, ODD, PROXY, REMOTE, host
from support.variants import Variants

from ectools.service.files import build_files
from ectools.service.programs import Programs
from ectools.service.sections import load_definition
from ectools.service.settings import ServiceName, load_service_settings

pytestmark = pytest.mark.nix

NETBOOT: dict[str, dict[str, Any]] = {
    "defaults": LISTEN,
    "ProxyDHCP": PROXY,
    "a binary from elsewhere": REMOTE,
    "everything": EVERYTHING,
    "privileged, limited": merge(
        LISTEN,
        {"httpPort": 80, "maxConnections": 9000, "tftp": {"maxTransfers": 300000}},
        {"httpAllowedCIDRs": ["192.0.2.0/24", "2001:db8::/32"], "trustedProxies": ["192.0.2.1"]},
    ),
    "status on IPv6": merge(LISTEN, {"fleet": {"listen": "[::1]:09091"}, "httpAllowedCIDRs": ["192.0.2.1"]}),
    "no status": merge(LISTEN, {"fleet": {"listen": None}, "httpAllowedCIDRs": ["192.0.2.0/24"]}),
    "status for others": merge(LISTEN, {"fleet": {"listen": "192.0.2.10:90"}, "httpAllowedCIDRs": ["::1"]}),
}
GUEST: dict[str, dict[str, Any]] = {
    "defaults": ROOT,
    "no KVM, no filter": merge(ROOT, {"enableKvm": False, "boot": {"userNet": {"hostLoopback": "all"}}}),
    "LAN, privileged, odd": merge(
        ROOT,
        {"lan": {"enable": True, "macvtap": {"interface": "eth0"}}, "stateDir": ODD},
        {"boot": {"http": {"port": 80}, "chainTokenFile": "/run/a %", "chainUrl": "http://192.0.2.1/x"}},
    ),
    "directories": merge(
        {"disk": {"path": "/srv/disks/a.qcow2"}, "vcpus": 5, "memoryMiB": 99},
        {"boot": {"http": {"enable": False}, "userNet": {"tftpDir": "/srv/tftp"}, "chainUrl": "http://a/x"}},
        {"shutdown": {"powerdownSeconds": 3}},
    ),
}
CASES = {
    **{("netboot", name): host(options) for name, options in NETBOOT.items()},
    **{
        ("ipxe-qemu", name): {"services": {"every-channel": {"ipxe-qemu": {"enable": True, **options}}}}
        for name, options in GUEST.items()
    },
}
OF_NIXOS = {"every-channel-netboot-stage-again.service"}
"""Its switch alone needs them: ``ectools service install`` does the same by itself."""
PROGRAMS = Programs(
    ectools=Path("/bin/ectools"),
    runner=Path("/bin/every-channel-ipxe-qemu"),
    kill=Path("/bin/kill"),
    nft=Path("/bin/nft"),
    systemctl=Path("/bin/systemctl"),
    systemd=None,
)


@pytest.fixture(scope="module")
def evaluated(variants: Variants) -> Mapping[tuple[str, str], dict[str, Any]]:
    found = variants.evaluate(["texts", "tmpfiles", "left"], list(CASES.values()))
    return dict(zip(CASES, found, strict=True))


@pytest.fixture(params=CASES, ids=": ".join)
def case(request: pytest.FixtureRequest) -> tuple[str, str]:
    return request.param  # type: ignore[no-any-return]


def show_unit(text: str) -> str:
    """A unit's text without comments, what NixOS alone adds, and directories of programs and settings."""
    text = re.sub(r"(?m)^(#|Environment=|X-).*\n", "", text)
    text = re.sub(
        r"/nix/store/[a-z0-9]{32}-every-channel-ipxe-qemu\.json", "/etc/every-channel/ipxe-qemu.json", text
    )
    return re.sub(r"\n{2,}", "\n", re.sub(r"/nix/store/[^/ ]+/bin/", "/bin/", text)).strip()


def test_units_users_and_directories_are_the_modules(
    case: tuple[str, str], evaluated: Mapping[tuple[str, str], dict[str, Any]], tmp_path: Path
) -> None:
    config = tmp_path / "host.json"
    config.write_text(json.dumps(CASES[case]))
    name = ServiceName(case[0])
    files = build_files(load_service_settings(name, config), PROGRAMS)
    module = evaluated[case]
    assert {unit: show_unit(text) for unit, text in files.units.items()} == {
        unit: show_unit(text) for unit, text in module["texts"].items() if unit not in OF_NIXOS
    }
    texts = {path.parent.name: text for path, text in files.texts.items()}
    users = re.findall(r"(?m)^u (\S+)", texts["sysusers.d"])
    assert users == module["left"]["users"] == sorted(load_definition(name)["users"])
    (rules,) = module["tmpfiles"].values()
    shown = {
        f"{kind} '{path}' {rule['mode']} {rule['user']} {rule['group']} - -"
        for path, kinds in rules.items()
        for kind, rule in kinds.items()
    }
    assert {line for line in texts["tmpfiles.d"].splitlines() if not line.startswith("#")} == shown
