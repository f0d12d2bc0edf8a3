"""The toolkit that keeps the every.channel NixOS modules authoritative, and the programs of their units.

``cli`` commands · ``demo`` the main job on an embedded default · ``docs`` option reference · ``host`` host
descriptions · ``checks`` of repository and machine · ``vm`` the guest runner · ``service`` units without
NixOS · ``netboot`` staging, serving and probing · ``settings_file`` one service's settings from either form
of file, and ``documents`` with their places · ``parsing`` settings, field by field · ``ipxe``, ``archive``,
``fetch`` what several of them share · ``options`` schemas from NixOS modules · ``schemas`` schemas as
programs use them · ``explain`` a schema's errors in words · ``metaschema`` what a schema is,
``schema_references`` where it leads · ``nixlang``
Nix expressions.

The ground floor, which imports none of these: ``errors`` · ``files`` · ``redact`` · ``log``, ``log_limit``
· ``names`` of options, ``parsing`` of their values · ``addresses`` · ``processes``, ``outputs`` of them,
``supervision``, ``interrupts`` · ``timers`` · ``notify`` systemd · ``capabilities``, ``privileges``,
``credentials`` · ``nft`` · ``nixpkgs`` · ``junit`` · ``schema_words`` what a
schema accepts · ``suggest`` what was meant.
"""

__version__ = "0.1.0"
