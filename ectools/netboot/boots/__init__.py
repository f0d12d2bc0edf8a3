"""Boots of nodes: each with an id, a token, the stages that it was seen at, and what the node says of it.

``model`` what a boot and a report are · ``register`` the boots of one server, which ``judge`` holds against
what the nodes say (``report``), also as they install (``installing``), in a ``form`` · ``archive`` how they
stand in a store, ``encode`` as JSON · ``counts`` totals of them · ``journals`` how many of unhealthy nodes
are in memory.
"""
