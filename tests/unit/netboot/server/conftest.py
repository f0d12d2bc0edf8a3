"""A site on a directory, for the tests of it here."""

from support.site_world import world

__all__ = ["world"]
