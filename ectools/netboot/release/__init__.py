"""Releases of boot files: from a forge or a tarball into a folder named by its content.

``stage`` the whole way, in this order: ``origin`` finds the archive and what is published of it (``forge``,
``forge_token``, ``http_client``, ``http_lines``, ``retry``, ``sums``, ``signature``) · ``age`` that it is
not older than what is current · ``download`` its bytes, ``progress`` how far they are · ``decompress``,
``blocks``, ``tar``, ``extract`` its files, within ``limits`` and ``names`` · ``boot_command`` what they boot
· ``manifest`` the record of it · ``publish`` into its place · ``swap`` the links to it · ``collect`` what is
old.

``store`` where all this stands · ``verify`` whether it is whole · ``pins`` what stays · ``rollback`` the way
back · ``pack`` an archive from a netboot output.
"""
