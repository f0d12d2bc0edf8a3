"""The boot scripts: pure functions from settings to text.

The scripts run on iPXE of 2019 and later; what only a newer or a UEFI build can do (a header of one's own,
SHA-256) is tried first, and done without where it is missing. They hold absolute URLs alone: where another
DHCP server is beside a proxy, ``${next-server}`` is the wrong host.

``first_stage`` finds the boot server · ``second_stage`` loads a release and starts it · ``systems`` which of
a release's a machine gets · ``unbooted`` for machines that boot no release · ``identity`` what a machine says
of itself · ``reporting`` what it says of its boot · ``fetching`` what both do: sources in turn, rounds,
reasons, giving up · ``checked`` what may stand in a script.
"""
