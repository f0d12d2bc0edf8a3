"""Staging's fixtures, for the tests of this directory."""

from support.staging import forge, no_proxies, staged_dir, tmp_path

__all__ = ["forge", "no_proxies", "staged_dir", "tmp_path"]
