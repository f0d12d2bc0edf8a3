"""What a machine says of itself where it asks for the second stage: the query of ``/netboot.ipxe``.

``mac``, ``uuid``, ``serial`` and ``asset`` are what a node of a fleet is known by, ``arch`` is iPXE's
``${buildarch}``. A setting that a machine does not have is empty. Text is encoded by iPXE's ``uristring``
(src/core/settings.c), which is as old as 2013.
"""

from __future__ import annotations


def build_identity(nic: str) -> str:
    """The query, without a question mark; ``nic`` is the NIC that it asks over, or a variable of it."""
    return "&".join(
        (
            f"mac=${{{nic}/mac}}",
            "uuid=${uuid}",
            "serial=${serial:uristring}",
            "asset=${asset:uristring}",
            "arch=${buildarch}",
        )
    )
