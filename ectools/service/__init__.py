"""The services as units of a system without NixOS, made of what the modules make theirs of.

``sections`` of units, from data that Nix reads too: ``netboot.toml``, ``ipxe-qemu.toml``, ``common.toml`` ·
``settings`` of one service, and their ``facts`` that the data asks for · ``programs`` that units start ·
``unit_text`` as systemd reads it · ``files`` of one service, all of them · ``ownership`` which of those on a
system are ours · ``install`` them, and remove them.
"""
