"""Rollouts: a group of nodes is led from one release to the next by waves, and back by itself.

``model`` what a rollout is, and what is known of it at a moment · ``decide`` the pure functions: what a
moment makes of it, and which release a node gets · ``encode`` it as JSON · ``kept`` in a store ·
``journal`` what happens to them · ``seen`` boots of their nodes · ``listening`` for how long they were heard
of · ``offers`` to nodes that ask · ``live`` those of a boot server · ``members`` who is in a group ·
``turns`` what is decided anew · ``ends`` what follows from an end · ``absences`` of nodes that have left ·
``refusals`` what cannot be asked · ``slots`` how many nodes may be away at a time.
"""
