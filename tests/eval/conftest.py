"""The nixes of the shim's own tests, and hosts with the guest's module."""

from __future__ import annotations

from shim.conftest import nix as any_nix
from support.hosts import build_host, evaluate_host, host_nix, host_unit

__all__ = ["any_nix", "build_host", "evaluate_host", "host_nix", "host_unit"]
