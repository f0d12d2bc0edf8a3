"""Checks of the repository and of this machine."""
