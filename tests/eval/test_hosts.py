"""The flake's systems: what each is for, evaluated, and what of them can be run."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from ectools.checks.closure_published import read_published
from ectools.netboot.release.boot_entry import parse_boot_entry
from pynix_eval_shim import Nix, build, evaluate

if TYPE_CHECKING:
    from collections.abc import Mapping

pytestmark = [pytest.mark.nix]

ROOT = Path(__file__).resolve().parent.parent.parent
OVERSIZED = ROOT / "nix/hosts/refuse-oversized.sh"
LARGEST = 4 * 1024**3 - 1

SUMMARY = """builtins.mapAttrs (_: { config, options, ... }: let inherit (config.services) every-channel; in {
  platform = config.nixpkgs.hostPlatform.system;
  failed = map (a: a.message) (builtins.filter (a: !a.assertion) config.assertions);
  inherit (config) warnings;
  runner = every-channel.runner.enable;
  overlayRoot = every-channel.runner.overlayRoot.enable;
  inherit (every-channel.runner) configuration;
  publisher = every-channel.publisher-guest.enable;
  root = config.fileSystems."/".fsType;
  rootOptions = config.fileSystems."/".options;
  zfs = config.boot.supportedFilesystems.zfs or false;
  inherit (config.networking) hostId;
  oldName = config.system.extraSystemBuilderCmds;
  guest = every-channel.ipxe-qemu.enable;
  lan = every-channel.ipxe-qemu.lan.enable;
  inherit (every-channel.ipxe-qemu) restartIfChanged;
  tcp = config.networking.firewall.allowedTCPPorts;
  udp = config.networking.firewall.allowedUDPPorts;
  passwords = config.services.openssh.enable && config.services.openssh.settings.PasswordAuthentication;
  hostKeys = map (key: key.type) config.services.openssh.hostKeys;
  iso = if !(config ? isoImage) then null else {
    inherit (config.isoImage) appendToMenuLabel prependToMenuLabel syslinuxTheme volumeID;
    name = config.image.fileName or config.isoImage.isoName;
  };
  uki = if !(config.system.build ? netboot) then null else {
    inherit (config.boot.uki.settings.UKI) Initrd;
    whole = "${config.system.build.netbootRamdisk}/initrd";
  };
  activation = map (each: each.file) (
    options.system.activationScripts.definitionsWithLocations
    ++ options.boot.postBootCommands.definitionsWithLocations
  );
  afterBoot = config.boot.postBootCommands;
  card = if !(config ? sdImage) then null else config.image.fileName or config.sdImage.imageName;
})"""

# The names that nixpkgs has given some options since 2025, declared beside the older ones.
NEWER_NAMES = """builtins.mapAttrs (_: host: let
  newer = { lib, ... }: { options = {
    image.baseName = lib.mkOption { default = null; };
    services.journald.settings = lib.mkOption { type = lib.types.attrsOf (lib.types.attrsOf lib.types.str); };
  }; };
  inherit (host.extendModules { modules = [ newer ]; }) config;
in {
  journal = config.services.journald.settings.Journal.Storage;
  image = config.image.baseName;
})"""

PERLLESS = """hosts: let
  perlless = { modulesPath, ... }: { imports = [ "${modulesPath}/profiles/perlless.nix" ]; };
  inherit (hosts.ec-runner-x86_64-netboot.extendModules { modules = [ perlless ]; }) config;
in {
  inherit (config) warnings;
  failed = map (a: a.message) (builtins.filter (a: !a.assertion) config.assertions);
  overlay = config.system.etc.overlay.enable;
  perl = builtins.filter (name: builtins.match "perl.*" name != null)
    (map (package: package.pname or package.name) config.environment.systemPackages);
}"""

WITHOUT_NIX = """hosts: let
  inherit (hosts.ec-runner-x86_64-netboot.extendModules { modules = [ { nix.enable = false; } ]; }) config;
in {
  failed = map (a: a.message) (builtins.filter (a: !a.assertion) config.assertions);
  installs = map (host: host.config.services.every-channel.install.enable)
    [ { inherit config; } hosts.ec-runner-x86_64-netboot ];
}"""


@pytest.fixture(scope="module")
def hosts(nixpkgs: Path) -> dict[str, dict[str, Any]]:
    found: dict[str, dict[str, Any]] = evaluate(
        installable=f"{ROOT}#nixosConfigurations",
        apply=SUMMARY,
        override_inputs={"nixpkgs": f"path:{nixpkgs}"},
    )
    return found


def test_no_system_has_a_failed_assertion_or_a_warning(hosts: dict[str, dict[str, Any]]) -> None:
    assert [each for host in hosts.values() for each in host["failed"] + host["warnings"]] == []


def test_each_system_is_of_the_platform_in_its_name_and_knows_its_name(
    hosts: dict[str, dict[str, Any]],
) -> None:
    for name, host in hosts.items():
        assert host["platform"] == ("aarch64-linux" if "aarch64" in name else "x86_64-linux")
        assert host["configuration"] == name


def test_installed_runners_alone_have_the_overlay_root(hosts: dict[str, dict[str, Any]]) -> None:
    with_overlay = {name for name, host in hosts.items() if host["overlayRoot"]}
    assert with_overlay == {"ec-runner-x86_64", "ec-runner-aarch64"}
    assert all(host["runner"] for name, host in hosts.items() if name.startswith("ec-runner-"))


def test_publishers_have_no_disk(hosts: dict[str, dict[str, Any]]) -> None:
    publishers = {name: host for name, host in hosts.items() if host["publisher"]}
    assert set(publishers) == {"ec-publisher-x86_64", "ec-publisher-x86_64-netboot"}
    assert {host["root"] for host in publishers.values()} == {"tmpfs"}


def test_a_root_in_memory_is_root_s_alone_to_write_to(hosts: dict[str, dict[str, Any]]) -> None:
    """A tmpfs is everybody's, as /tmp is, where nothing is said of its mode."""
    roots = {name: host["rootOptions"] for name, host in hosts.items() if host["root"] == "tmpfs"}
    assert len(roots) == 6
    assert [name for name, options in roots.items() if "mode=0755" not in options] == []


def test_no_system_is_an_installer(hosts: dict[str, dict[str, Any]]) -> None:
    """Installers have ZFS, of which nixpkgs warns, and all of them one host ID."""
    assert not [name for name, host in hosts.items() if host["zfs"] or host["hostId"]]


def test_a_medium_presents_itself_as_what_it_is(hosts: dict[str, dict[str, Any]]) -> None:
    media = {name: host["iso"] for name, host in hosts.items() if host["iso"] is not None}
    assert set(media) == {"ec-runner-x86_64-iso", "ec-runner-aarch64-iso"}
    for iso in media.values():
        assert iso["name"].startswith("ec-runner-")
        assert iso["volumeID"].startswith("ec-runner-")
        assert (iso["prependToMenuLabel"], iso["appendToMenuLabel"]) == ("ec-runner, ", "")
        assert "MENU TITLE ec-runner\n" in iso["syslinuxTheme"]
        assert "NixOS" not in iso["syslinuxTheme"]
    cards = {name: host["card"] for name, host in hosts.items() if host["card"] is not None}
    assert set(cards) == {"ec-runner-aarch64-sdimage"}
    assert all(card.startswith("ec-runner-") for card in cards.values())


def test_no_option_has_a_name_that_a_newer_nixpkgs_warns_of(hosts: dict[str, dict[str, Any]]) -> None:
    assert not [name for name, host in hosts.items() if "rm " in host["oldName"]]


def test_options_have_the_names_of_a_newer_nixpkgs_where_it_has_them(nixpkgs: Path) -> None:
    found: dict[str, dict[str, Any]] = evaluate(
        installable=f"{ROOT}#nixosConfigurations",
        apply=NEWER_NAMES,
        override_inputs={"nixpkgs": f"path:{nixpkgs}"},
    )
    for name, host in found.items():
        assert host["journal"] == "volatile"
        assert (host["image"] is not None) == name.endswith(("-iso", "-sdimage"))


def test_nothing_of_here_is_a_script_that_nixos_init_passes_over(hosts: dict[str, dict[str, Any]]) -> None:
    """It runs no activation script, and refuses commands after the boot; images have nixpkgs's."""
    for name, host in hosts.items():
        assert [file for file in host["activation"] if "/nixos/modules/" not in file] == [], name
        assert (host["afterBoot"] == "") != name.endswith(("-netboot", "-iso", "-sdimage")), name


def test_a_netboot_system_as_one_efi_program_has_its_store(hosts: dict[str, dict[str, Any]]) -> None:
    programs = {name: host["uki"] for name, host in hosts.items() if name.endswith("-netboot")}
    assert len(programs) == 3
    for uki in programs.values():
        assert uki["Initrd"] == uki["whole"]


def test_a_netboot_runner_can_do_without_perl(nixpkgs: Path) -> None:
    """As far as it is evaluated: the overlay at /etc is made by composefs, which package sets may lack."""
    found = evaluate(
        installable=f"{ROOT}#nixosConfigurations",
        apply=PERLLESS,
        override_inputs={"nixpkgs": f"path:{nixpkgs}"},
    )
    assert found == {"warnings": [], "failed": [], "overlay": True, "perl": []}


def test_a_netboot_runner_without_nix_installs_nothing(nixpkgs: Path) -> None:
    found = evaluate(
        installable=f"{ROOT}#nixosConfigurations",
        apply=WITHOUT_NIX,
        override_inputs={"nixpkgs": f"path:{nixpkgs}"},
    )
    assert found == {"failed": [], "installs": [False, True]}


def test_a_system_without_a_disk_makes_no_key_that_takes_long(hosts: dict[str, dict[str, Any]]) -> None:
    for name, host in hosts.items():
        if name.endswith(("-netboot", "-iso")):
            assert host["hostKeys"] == ["ed25519"], name


def test_the_forge_has_one_guest_that_is_on_no_lan(hosts: dict[str, dict[str, Any]]) -> None:
    assert [name for name, host in hosts.items() if host["guest"]] == ["ecp-forge"]
    forge = hosts["ecp-forge"]
    assert not forge["lan"]
    # What it boots changes when the host is updated.
    assert forge["restartIfChanged"]
    assert (forge["tcp"], forge["udp"]) == ([22], [])


def test_nobody_logs_in_with_a_password(hosts: dict[str, dict[str, Any]]) -> None:
    assert not any(host["passwords"] for host in hosts.values())


@pytest.mark.parametrize("name", ["ec-runner-x86_64-netboot", "ec-publisher-x86_64-netboot"])
def test_the_script_of_a_netboot_system_is_one_that_can_be_staged(
    nixpkgs: Path, nix_env: Mapping[str, str], name: str, tmp_path: Path
) -> None:
    (built,) = build(
        nix=Nix(env=nix_env),
        installable=f"{ROOT}#nixosConfigurations.{name}.config.system.build.netbootIpxeScript",
        override_inputs={"nixpkgs": f"path:{nixpkgs}"},
    )
    script = Path(built.outputs["out"]) / "netboot.ipxe"
    command = parse_boot_entry(script.read_bytes(), ["kernel", "initrd", "netboot.ipxe", "closure.txt"])
    assert (command.kernel, command.initrds) == ("kernel", ("initrd",))
    assert "${cmdline}" in command.arguments
    (tmp_path / "netboot.ipxe").write_bytes(script.read_bytes())
    assert f"init={read_published(tmp_path, name).toplevel}/init" in command.arguments


@pytest.mark.parametrize("excess", [0, 1])
def test_a_store_that_an_initrd_would_drop_is_refused(tmp_path: Path, excess: int) -> None:
    store = tmp_path / "nix-store.squashfs"
    with store.open("wb") as file:
        file.truncate(LARGEST + excess)
    # As the store holds it: by a link.
    (tmp_path / "link").symlink_to(store)
    argv = ["sh", str(OVERSIZED), str(tmp_path / "link")]
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    assert done.returncode == excess
    assert (f"has {LARGEST + 1} bytes" in done.stderr) == bool(excess)
