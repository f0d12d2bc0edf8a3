"""A DHCP and PXE client without a machine: what would a node on this network load, and what is wrong.

``wire`` packets · ``clients`` the clients that it plays · ``simulate`` what firmware and iPXE would do ·
``diagnose`` one client from its first frame to the kernel · ``faults`` what can be wrong, and what to do ·
``report``, ``report_text`` for programs and for people · ``run`` puts them together.
"""
