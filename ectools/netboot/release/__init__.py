"""Releases of boot files: from a forge or a tarball into a directory named by its content.

``stage`` the whole way, in this order: ``followed`` where a channel leads (``channels`` what was seen of it)
· ``source`` finds the archive and what is published of it (``forge``, ``forge_token``, ``depot_source``,
``published``, ``checksums``) · ``age`` that it is not older than what is current ·
``reuse`` of what is staged, ``download`` of the rest · ``unpack`` what an archive holds · ``boot_entry`` what
its files boot · ``manifest`` the record of it · ``share`` of store paths · ``publish`` into its place ·
``activation`` the links to it · ``prune`` what is old.

``systems`` what an archive's name says, and which system a machine gets · ``store`` where all this stands ·
``tags`` which is of which tag · ``verify`` whether it is whole · ``pins`` what stays · ``rollback`` the way
back · ``difference`` what changes from one to another · ``store_image`` what a stage 1 fetches by itself ·
``fleet_needs`` what a fleet needs of them · ``pack`` archives from netboot outputs (``archive_writer`` their
bytes), ``boot_statement`` what of them is signed for nodes, and ``binary_cache`` from installed systems'
closures, of which ``installed_systems`` finds one.
"""
