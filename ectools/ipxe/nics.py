"""Lines of a boot script that go through a machine's NICs: first the one it booted from, one open at a time.

``dhcp`` without a name takes the first NIC that gets a lease, whatever network that is, and iPXE has no way
back. These lines stand between a script's own. Their variables:

    ec-first      the NIC to begin with; empty where nothing tells
    ec-nics       how many there are
    ec-nic        the one in turn
    ec-for        what they are gone through for: with each NIC in turn the script comes to the label
                  ``nic_${ec-for}``, at last to ``no_nic_${ec-for}``; ``next_nic`` goes on
    ec-open       the one that has a lease
    ec-state-NIC  how it stands with a NIC, in words

Names and settings are those of iPXE's src/net/netdevice.c and netdev_settings.c: ``netX`` is the NIC that was
opened last. Routes over a NIC that is closed are passed over (src/net/ipv4.c); its other settings stay.
"""

from __future__ import annotations

MOST_NICS = 16
"""``net0`` to ``net15``. The one to begin with may have another name: a VLAN's is ``net0-100``."""
LINK_SECONDS = 5
"""For a link, in the first round; iPXE's own ``dhcp`` waits 15 s for one."""
_NO_SUCH_COMMAND = "0x81"
"""The low byte of ENOEXEC on UEFI (src/include/ipxe/errno/efi.h)."""


def find_nics() -> list[str]:
    """Set ``ec-first`` and ``ec-nics``; what the script does then follows.

    The NIC that the machine booted from is open already, or holds the lease that the firmware had.
    """
    return [
        "set ec-first ${netX/ifname}",
        "set ec-nics:int32 0",
        "set ec-for count",
        "goto nics",
        ":nic_count",
        "inc ec-nics",
        "isset ${ec-first} && goto next_nic ||",
        "isset ${${ec-nic}/ip} && set ec-first ${ec-nic} ||",
        "goto next_nic",
        ":no_nic_count",
    ]


def build_nic_walk() -> list[str]:
    """The label ``nics``: begin with the first; and ``next_nic``."""
    return [
        ":nics",
        "set ec-index:int32 0",
        "set ec-nic ${ec-first}",
        "isset ${ec-nic} && goto nic_${ec-for} ||",
        ":next_nic",
        f"iseq ${{ec-index}} {MOST_NICS} && goto no_nic_${{ec-for}} ||",
        "set ec-nic net${ec-index}",
        "inc ec-index",
        "iseq ${ec-nic} ${ec-first} && goto next_nic ||",
        "isset ${${ec-nic}/mac} && goto nic_${ec-for} || goto next_nic",
    ]


def build_lease() -> list[str]:
    """Lease an address for ``ec-nic`` and go to ``leased``; without one, on to the next.

    ``ec-round`` is 1 in the first round, in which no long time is lost on a NIC without a link.
    """
    return [
        "iseq ${ec-nic} ${ec-first} && goto lease ||",
        "iseq ${ec-round} 1 && iseq ${platform} efi || goto lease",
        f"iflinkwait --timeout {LINK_SECONDS * 1000} ${{ec-nic}} && goto lease ||",
        "set ec-kind:uint8 ${errno}",
        # iPXE before 2021 has no iflinkwait.
        f"iseq ${{ec-kind}} {_NO_SUCH_COMMAND} && goto lease ||",
        "set ec-state-${ec-nic} no link",
        "goto next_nic",
        ":lease",
        # Not only where there is no address yet: firmware hands settings on without an open NIC.
        "dhcp ${ec-nic} && goto leased ||",
        "set ec-state-${ec-nic} no DHCP lease (https://ipxe.org/${errno:hexraw})",
        "goto next_nic",
        ":leased",
        "set ec-open ${ec-nic}",
        # Else a DNS server is that of whichever NIC had a lease first, even if it is closed.
        "set ${ec-nic}/priority 1 ||",
    ]


def leave_nic() -> list[str]:
    """Close ``ec-nic``, and go on to the next."""
    return [
        "ifclose ||",
        "clear ${ec-nic}/priority ||",
        "clear ec-open ||",
        "goto next_nic",
    ]
