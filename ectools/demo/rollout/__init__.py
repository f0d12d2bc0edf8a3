"""A release goes out to four machines by itself; a bad one stops by itself, and goes back by itself.

``fleet_host`` a boot host with a fleet and three releases · ``progress`` of nodes and of a rollout, in lines
· ``run_rollout`` the machines, which follow their group, and the two rollouts. Network and firmware are those
of ``ectools.demo.netboot``.
"""
