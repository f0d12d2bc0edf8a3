"""Releases of boot files: from a forge or a tarball into a folder named by its content.

``manifest`` what a release is, and its JSON · ``names`` which file names it may hold · ``boot_command`` its
netboot.ipxe, read · ``store`` where releases stand · ``swap`` the links current and previous.
"""
