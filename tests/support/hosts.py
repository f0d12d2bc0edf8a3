"""Hosts with the guest's module, for the tests that evaluate, build or start them."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

HOST = Path(__file__).parent.parent / "eval" / "host.nix"
ROOT = {"boot": {"http": {"root": "/srv/netboot/current"}}}

Nix = Callable[..., subprocess.CompletedProcess[str]]


def merge(*parts: dict[str, Any]) -> dict[str, Any]:
    merged: dict[str, Any] = {}
    for part in parts:
        for key, value in part.items():
            nested = isinstance(value, dict) and isinstance(merged.get(key), dict)
            merged[key] = merge(merged[key], value) if nested else value
    return merged


@pytest.fixture(scope="session")
def host_nix(nixpkgs: Path, nix_env: Mapping[str, str]) -> Nix:
    """``host_nix(program, attribute, options)``: host.nix with the guest enabled and these options of it."""

    def call(program: list[str], attribute: str, options: dict[str, Any]) -> subprocess.CompletedProcess[str]:
        config = {"services": {"every-channel": {"ipxe-qemu": {"enable": True, **options}}}}
        given = ["--argstr", "nixpkgs", str(nixpkgs), "--argstr", "config", json.dumps(config)]
        argv = [*program, str(HOST), *given, "-A", attribute]
        return subprocess.run(
            argv, env=dict(nix_env), capture_output=True, text=True, timeout=300, check=False
        )

    return call


@pytest.fixture(scope="session")
def evaluate_host(host_nix: Nix) -> Callable[[str, dict[str, Any]], Any]:
    def call(attribute: str, options: dict[str, Any]) -> Any:
        done = host_nix(
            ["nix-instantiate", "--eval", "--strict", "--json", "--read-write-mode"], attribute, options
        )
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    return call


@pytest.fixture(scope="session")
def build_host(host_nix: Nix) -> Callable[[str, dict[str, Any]], Path]:
    def call(attribute: str, options: dict[str, Any]) -> Path:
        done = host_nix(["nix-build", "--no-out-link"], attribute, options)
        assert done.returncode == 0, done.stderr
        return Path(done.stdout.strip())

    return call


@pytest.fixture(scope="session")
def host_unit(build_host: Callable[..., Path]) -> Path:
    """The built unit file of a host with the defaults."""
    return build_host("unit", ROOT) / "every-channel-ipxe-qemu.service"
