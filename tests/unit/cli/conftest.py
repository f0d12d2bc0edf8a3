"""Staging's fixtures, for the tests of this folder."""

from support.staging import forge, staged_dir, tmp_path

__all__ = ["forge", "staged_dir", "tmp_path"]
