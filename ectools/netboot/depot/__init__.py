"""Depots: where releases are published, and staged from, beside each other: ``releases/TAG/…``, and the
channels that lead to them, below ``channels/``.

``interface`` what can be done there, whichever it is (``settings.depot_address`` names it) · ``directory`` of
this machine · ``objects`` behind HTTP: S3, or a web server that is written to by PUT · ``multipart`` large
objects of S3 · ``s3_credentials`` who asks there · ``registry`` a repository of a container registry ·
``registry_client`` who asks there · ``forge_depot`` a forge's releases, by its API · ``github_depot`` what is
otherwise at GitHub · ``opening`` the one that an address names · ``channel`` a signed pointer to a release.
"""
