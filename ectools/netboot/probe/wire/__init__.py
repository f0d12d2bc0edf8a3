"""Packets: DHCP, PXE's option 43, frames, TFTP and HTTP, as they are on the wire."""
