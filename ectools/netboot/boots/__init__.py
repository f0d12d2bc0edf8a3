"""Boots of nodes: each with an id, a token, the stages that it was seen at, and what the node says of it.

``model`` what a boot and a report are · ``register`` the boots of one server, ``progress`` how each goes
on, which ``judge`` holds against what the nodes say (``report``), also as they install (``installing``) and
from their ``disk``, in a ``form`` · ``elapsed`` how long each has had, and ``deadlines`` how long it may
take · ``memory`` which of them are at hand, ``journals`` how many with what an unhealthy node said ·
``archive`` how they stand in a store, ``encode`` as JSON, ``keeping`` brings them there · ``merge`` what
two servers have seen of one · ``counts`` totals.
"""
