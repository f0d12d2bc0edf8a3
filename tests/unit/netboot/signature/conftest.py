"""Staging's fixtures, for the tests of this directory."""

from support.staging import forge, staged_dir, tmp_path

__all__ = ["forge", "staged_dir", "tmp_path"]
