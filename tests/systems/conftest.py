"""The flake, for all tests of its systems."""

from support.nixos_build import flake

__all__ = ["flake"]
