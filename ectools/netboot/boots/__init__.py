"""Boots of nodes: each with an id, a token, the stages that it was seen at, and what the node says of it.

``model`` what a boot and a report are · ``counts`` totals of them.
"""
