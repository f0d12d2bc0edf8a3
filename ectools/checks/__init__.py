"""Checks of the repository and of this machine.

``doctor`` what this host lacks · ``evaluation`` a value from Nix · ``host_options``, ``host_options_text``
the options of a host · ``closure``, ``closure_published`` whether a system is the one that its flake
describes · ``proposals`` decisions in writing · ``vmtest``, ``vmtest_run``, ``vmtest_steps``,
``vmtest_report`` the NixOS VM tests of a flake.
"""
