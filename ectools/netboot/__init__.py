"""Network boot: releases are staged, served over HTTP and TFTP, booted by iPXE, and probed.

``server`` the boot server and ``probe`` a client without a machine, above: ``api`` what can be seen and done
of a fleet over HTTP · ``dnsmasq`` TFTP and ProxyDHCP · ``boot_files`` boot binaries and scripts ·
``publishing`` of releases, and of where channels lead · ``release`` staging · ``depot`` where releases are
published · ``signature`` of published checksums · ``settings`` · ``rollout`` from release to release by waves
· ``fleet`` machines by name, and what each boots · ``boots`` what each boot was seen at · ``state`` what is
remembered · ``http`` an HTTP server that knows nothing of the others · ``protocols`` architectures and ports,
shared with the NixOS modules · ``kernel`` the processor that a boot image is for.
"""
