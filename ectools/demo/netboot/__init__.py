"""The other half of the main job: a machine that boots from a boot host, in a network of its own.

``needs`` of this host · ``namespaces`` that end with the demo · ``lab`` in them: a switch, a router, a boot
host and a client · ``first_stage``: an iPXE for UEFI · ``boot_host``: a release staged and served ·
``verdict`` of the probe · ``machine``: UEFI firmware · ``boot_stages`` of its boot, found in three logs ·
``run_netboot``: one boot.
"""
