"""``ectools options`` on configurations that the real nix evaluates: NixOS, and modules by themselves."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Mapping

pytestmark = pytest.mark.nix

Run = Callable[..., subprocess.CompletedProcess[str]]

HOST = """
{ lib, ... }:
{
  boot.loader.grub.enable = lib.mkForce false;
  fileSystems."/".device = "/dev/vda";
  networking.hostName = lib.mkDefault "h";
  boot.kernel.sysctl."kernel.sysrq" = lib.mkIf true 1;
  services.openssh.ports = [ 22 (throw "no port") ];
  system.stateVersion = "26.05";
  users.users.me = { shell = "/bin/x"; isNormalUser = true; };
}
"""
NAMES = [
    "networking.hostName",
    "boot.loader.grub.enable",
    'boot.kernel.sysctl."kernel.sysrq"',
    "services.openssh.ports",
    "users.users.me.shell",
    "users.users.me.group",
    "users.users.<name>.group",
    "time",
]


@pytest.fixture
def run(nix_env: Mapping[str, str], nixpkgs: Path, tmp_path: Path) -> Run:
    def call(*arguments: str) -> subprocess.CompletedProcess[str]:
        argv = [sys.executable, "-m", "ectools.cli.main", "options", "--nixpkgs", str(nixpkgs), *arguments]
        done = subprocess.run(
            argv, env=dict(nix_env), cwd=tmp_path, capture_output=True, text=True, check=False, timeout=300
        )
        assert "Traceback" not in done.stderr
        return done

    return call


def read(done: subprocess.CompletedProcess[str]) -> dict[str, dict[str, Any]]:
    assert done.stdout.startswith("["), done.stderr
    return {option["name"]: option for option in json.loads(done.stdout)}


def defined(option: dict[str, Any]) -> list[tuple[str, Any]]:
    return [(Path(each["file"]).name, each.get("value")) for each in option["definitions"]]


def test_options_of_a_nixos_configuration(run: Run, tmp_path: Path) -> None:
    (tmp_path / "host.nix").write_text(HOST)
    done = run("--file", "host.nix", "--json", *NAMES)
    assert done.returncode == 1
    found = read(done)
    assert [*found] == NAMES
    name, grub, sysctl, ports, shell, group, any_group, time = found.values()

    assert name["value"] == {"value": "h"}
    assert name["state"] == {"isDefined": True, "priority": 1000}
    assert defined(name) == [("host.nix", {"value": "h"})]
    assert Path(name["declarations"][0]["file"]).name == "network-interfaces.nix"
    assert name["declarations"][0]["line"] > 1
    assert grub["state"]["priority"] == 50
    assert (grub["default"], grub["type"]) == ({"value": True}, "boolean")

    assert (sysctl["kind"], sysctl["value"], defined(sysctl)) == (
        "value",
        {"value": 1},
        [("host.nix", {"value": 1})],
    )
    # What cannot be evaluated is told, and its files all the same.
    assert ports["errors"]["value"]["message"] == "no port"
    assert ports["default"] == {"value": [22]}
    assert defined(ports) == [("host.nix", None)]

    assert (shell["kind"], shell["value"], defined(shell)) == (
        "option",
        {"value": "/bin/x"},
        [("host.nix", {"value": "/bin/x"})],
    )
    assert (group["value"], group["type"]) == ({"value": "users"}, "string")
    assert (any_group["value"], any_group["type"]) == (None, "string")
    assert (time["kind"], "timeZone" in time["names"]) == ("set", True)


MODULES = """
with import <nixpkgs/lib>;
evalModules {
  modules = [
    {
      options.jobs = mkOption {
        type = types.nullOr (types.attrsOf (types.submodule {
          options.level = mkOption { type = types.int; default = 3; };
          options.list = mkOption { type = types.listOf (types.submodule { options.x = mkOption { }; }); };
        }));
      };
      options.free = mkOption { type = types.submodule { freeformType = types.attrsOf types.int; }; };
      options.group.package = mkOption { default = { type = "derivation"; name = "p"; outPath = "/p"; }; };
      options.group.unset = mkOption { type = types.str; };
    }
    { _file = "a"; jobs.one.list = mkMerge [ [ { x = 1; } ] (mkIf true [ { x = 2; } ]) ]; free.y = 5; }
    { _file = "b"; jobs.one = mkIf true { level = mkDefault 4; }; jobs.two = mkIf false { level = 9; }; }
  ];
}
"""


def test_options_within_values(run: Run) -> None:
    names = ["jobs.one.level", 'jobs.one.list."1".x', "free.y", "jobs.*.level", "group"]
    found = read(run("--expr", MODULES, "--recursive", "--json", *names))
    assert [*found] == [*names[:-1], "group.package", "group.unset"]
    assert (found["jobs.one.level"]["value"], defined(found["jobs.one.level"])) == (
        {"value": 4},
        [("b", {"value": 4})],
    )
    assert found[names[1]]["value"] == {"value": 2}
    assert {name for name, _ in defined(found[names[1]])} == {"a"}
    assert (found["free.y"]["kind"], found["free.y"]["value"]) == ("value", {"value": 5})
    assert found["jobs.*.level"]["default"] == {"value": 3}
    assert found["group.package"]["value"] == {"text": "<derivation p>"}


def test_a_set_of_options_by_itself(run: Run) -> None:
    done = run("--expr", "{ a.b = (import <nixpkgs/lib>).mkOption { default = 1; }; }", "a.b", "a.bb", "x")
    assert done.returncode == 2
    assert done.stdout.startswith("a.b\n  Value:\n    none\n  Default:\n    1\n")
    assert "ectools: a.bb: a has no bb; did you mean a.b?\nx: no such option" in done.stderr


def test_a_host_of_a_flake(run: Run, nixpkgs: Path, tmp_path: Path) -> None:
    modules = MODULES.replace("import <nixpkgs/lib>", f"(import {nixpkgs}/lib)")
    (tmp_path / "own").mkdir()
    (tmp_path / "own/flake.nix").write_text(
        f"{{ outputs = _: {{ nixosConfigurations.host = {modules}; }}; }}"
    )
    done = run("--flake", f"path:{tmp_path}/own#host", "free.y")
    assert (done.returncode, done.stdout.splitlines()[:3]) == (0, ["free.y", "  Value:", "    5"]), (
        done.stderr
    )
    done = run("--flake", f"path:{tmp_path}/own#other", "free.y")
    assert done.returncode == 1
    assert "missing attribute" in done.stderr
