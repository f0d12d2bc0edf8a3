"""What clients load before a kernel: iPXE binaries and boot scripts.

``binary`` what a binary is, by its bytes · ``choose`` which are served · ``scripts`` the text of both
stages · ``install`` binaries and first stage into the TFTP directory.
"""
