"""Depots: where releases are published, and staged from, beside each other: ``releases/TAG/…``, and the
channels that lead to them, below ``channels/``.

``interface`` what can be done there, whichever it is (``settings.depot_address`` names it) · ``directory`` of
this machine · ``objects`` behind HTTP: S3, or a web server that is written to by PUT · ``s3_credentials`` who
asks there · ``forge_depot`` a forge's releases, by its API · ``opening`` the one that an address names ·
``channel`` a signed pointer to a release.
"""
