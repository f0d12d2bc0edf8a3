"""Staging's fixtures, for the tests of this directory."""

from support.staging import any_query, clock, forge, no_proxies, staged_dir, tmp_path

__all__ = ["any_query", "clock", "forge", "no_proxies", "staged_dir", "tmp_path"]
