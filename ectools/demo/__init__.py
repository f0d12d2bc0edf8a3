"""The main job on an embedded default: from a host description to a guest that reports that it is up.

``payload`` what the guest boots · ``run`` one boot, in a ``run_directory`` · ``stages`` of it, found in the
log by ``log_lines`` · ``draw`` them. ``netboot`` is the other half: a machine and the boot host of its
network; ``rollout`` leads four of them from release to release. ``debian_suite``: packages of another one.
"""
