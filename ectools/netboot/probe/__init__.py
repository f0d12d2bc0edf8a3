"""A DHCP and PXE client without a machine: what would a node on this network load, and what is wrong.

``dhcp`` messages ↔ bytes · ``vendor`` PXE's part of option 43 · ``client`` what each client says ·
``link`` one interface, and frames on it · ``converse`` asks, and collects all answers · ``choose`` what
the client would take of them · ``tftp``, ``web``, ``fetch`` whether a file is there · ``contents`` what it is ·
``ipxe_script`` what iPXE would do next · ``follow`` one client, from its first frame to the kernel ·
``network`` what only all the answers together show · ``faults`` what is wrong, and what to do ·
``report`` for people and for programs · ``run`` puts them together.
"""
