"""The flake's systems and images, built with a nixpkgs that builds here, and booted as their users boot them.

``journal`` the warnings that are explained · ``promises`` what docs/RUNNER_IMAGES.md says of a system that
runs · ``disk`` a system on a disk image · ``release`` one of the runner · ``boot_host`` a system that serves
it · ``main_job`` from the flake to a runner that is what was built, which ``./dev demo systems`` draws ·
``install_job`` from an empty disk to a runner that boots from it, which ``./dev demo install`` draws ·
``sizes`` how large the systems are.
"""
