"""Option declarations of NixOS modules, read through the shim, and the JSON Schemas made from them.

``evaluate`` ``modules`` and expressions, each a ``request`` to Nix → ``dump`` their declarations, with
``causes`` of what is broken · ``types`` an option's type as JSON Schema, ``unions`` and
``patterns`` with it · ``export`` a tree as one schema · ``checking`` committed schemas against it · ``drift``
between two schemas, with ``inclusion`` of one in the other and ``renames`` ·
``revisions`` schemas of a git revision ·
``reporting`` changes.
"""
