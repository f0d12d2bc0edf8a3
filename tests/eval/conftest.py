"""The nixes that the tests of rendered text run on: those of the shim's own tests."""

from __future__ import annotations

from shim.conftest import nix as any_nix

__all__ = ["any_nix"]
