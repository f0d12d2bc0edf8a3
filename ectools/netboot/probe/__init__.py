"""A DHCP and PXE client without a machine: what would a node on this network load, and what is wrong.

``dhcp`` messages ↔ bytes · ``option43`` PXE's part of option 43 · ``client`` what each client says ·
``frames`` datagrams in Ethernet · ``link`` one interface, and what is heard on it · ``answers`` offers ·
``converse`` asks, and collects all answers · ``choose``, ``choose_ipxe`` what a client would take of them ·
``tftp``, ``web``, ``fetch`` whether a file is there · ``contents`` what it is · ``files`` what it is for ·
``ipxe_syntax``, ``ipxe_trace``, ``ipxe_script`` what iPXE would do next · ``walk``, ``follow`` one client,
from its first frame to the kernel · ``network`` what only all answers together show · ``faults`` what is
wrong, and what to do · ``report``, ``show`` for programs and for people · ``run`` puts them together.
"""
