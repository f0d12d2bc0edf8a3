"""The boot server: HTTP, TFTP and ProxyDHCP for what is staged.

``host`` what this host must have · ``site`` which release's files stand where · ``leases`` the releases in use
· ``nodes`` who has fetched what: did it boot? · ``run`` puts them together.
"""
