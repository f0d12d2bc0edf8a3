"""examples/monitoring/nixos.nix, with NixOS's own module of Prometheus."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

pytestmark = pytest.mark.nix

DIRECTORY = Path(__file__).resolve().parents[2] / "examples/monitoring"
EXPRESSION = """
{ module }:
let
  offline = builtins.filter builtins.pathExists [ <nixpkgs/nixos-module.nix> ];
  inherit
    (import <nixpkgs/nixos/lib/eval-config.nix> {
      lib = import <nixpkgs/lib>;
      system = null;
      modules = offline ++ [ { nixpkgs.hostPlatform = "x86_64-linux"; } module ];
    })
    config
    ;
  prometheus = config.services.prometheus;
in
{
  inherit (prometheus) enable port;
  rules = map toString prometheus.ruleFiles;
  jobs = map (job: {
    inherit (job) job_name scrape_interval;
    targets = builtins.concatMap (each: each.targets) job.static_configs;
  }) prometheus.scrapeConfigs;
}
"""


def test_prometheus_reads_the_rules_and_asks_the_boot_server(nixpkgs: Path, tmp_path: Path) -> None:
    file = tmp_path / "expression.nix"
    file.write_text(EXPRESSION)
    module = str(DIRECTORY / "nixos.nix")
    argv = ["nix-instantiate", "--eval", "--strict", "--json", "--arg", "module", module, str(file)]
    done = subprocess.run(
        [*argv, "-I", f"nixpkgs={nixpkgs}"], capture_output=True, text=True, check=False, timeout=300
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == {
        "enable": True,
        # Not the boot server's own.
        "port": 9095,
        "rules": [str(DIRECTORY / "alerts.yaml")],
        "jobs": [
            {
                "job_name": "every-channel-netboot",
                "scrape_interval": "15s",
                "targets": ["127.0.0.1:9090"],
            }
        ],
    }
