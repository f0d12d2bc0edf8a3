"""What clients load before a kernel: iPXE binaries, other loaders before or after them, and boot scripts.

``binary`` what a binary is, by its bytes · ``shim`` what a shim loads next · ``choose`` which are served ·
``scripts`` the text of both stages · ``install`` binaries and first stage into the TFTP directory.
"""
