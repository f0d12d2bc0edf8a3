"""Nix expressions: a Python value or a small tree of nodes, and its text."""
