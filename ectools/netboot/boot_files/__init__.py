"""What clients load before a kernel: iPXE binaries, other loaders before or after them, and boot scripts.

``layout`` the names in the TFTP directory · ``binary`` what a binary is, by its bytes · ``shim`` what a
shim loads next · ``choose`` which binaries are served · ``by_machine`` which machines get another ·
``chain`` the files beside them · ``scripts`` the text of both stages · ``install`` all of it into the TFTP
directory.
"""
