"""Option declarations of NixOS modules, read through the shim, and the JSON Schemas made from them.

``evaluate`` modules → ``dump`` their declarations · ``types``, ``patterns`` an option's type as JSON Schema
· ``export`` a tree as one schema · ``checking`` committed schemas against it · ``drift`` between two
schemas, with ``inclusion`` of one in the other · ``revisions`` schemas of a git revision · ``reporting``
changes.
"""
