"""The nixes of the shim's own tests, and hosts with the guest's module."""

from __future__ import annotations

from shim.conftest import nix as any_nix
from support.hosts import build_host, evaluate_host, host_nix, host_unit
from support.systems import systems
from support.variants import variants

__all__ = ["any_nix", "build_host", "evaluate_host", "host_nix", "host_unit", "systems", "variants"]
