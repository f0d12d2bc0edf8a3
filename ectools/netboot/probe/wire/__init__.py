"""Packets, and the sockets that carry them.

``dhcp`` messages ↔ bytes · ``pxe_option43`` PXE's part of option 43 · ``offers`` what came back · ``dns``
the address of a name · ``frames`` datagrams in Ethernet · ``packet_socket`` one interface, and what is heard
on it · ``tftp``, ``http_probe`` the beginning of a file.
"""
