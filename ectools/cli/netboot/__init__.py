"""``ectools netboot``: one file a subcommand.

``dnsmasq`` · ``http`` · ``ipxe`` · ``pack`` · ``probe`` · ``promote`` · ``publish`` · ``releases`` ·
``rollback`` · ``serve`` · ``stage``. Those on staged releases share ``state``, those on depots
``depot_options``; ``progress`` draws a download.
"""

from __future__ import annotations

import click

from ectools.cli.lazy import LazyGroup

# In the order of the work: what a release is made by, what serves it, what looks after it; then the parts.
NETBOOT_COMMANDS = {
    "pack": ("ectools.cli.netboot.pack", "Make a release's archive and sums from a netboot output."),
    "publish": ("ectools.cli.netboot.publish", "Publish a release, whole and once, in S3, a forge, …"),
    "promote": ("ectools.cli.netboot.promote", "Lead a channel to a published release."),
    "stage": ("ectools.cli.netboot.stage", "Fetch a release, check it, unpack it, and make it current."),
    "ipxe": ("ectools.cli.netboot.ipxe", "Write boot binaries and the first boot script for TFTP."),
    "serve": ("ectools.cli.netboot.serve", "Serve what is staged: HTTP, TFTP, and ProxyDHCP."),
    "probe": ("ectools.cli.netboot.probe", "Ask the network what a node would boot, and what is wrong."),
    "releases": ("ectools.cli.netboot.releases", "Staged releases: list, compare, pin, verify, collect."),
    "rollback": ("ectools.cli.netboot.rollback", "Go back to the release before."),
    "http": ("ectools.cli.netboot.http", "Serve the files of one directory over HTTP."),
    "dnsmasq": ("ectools.cli.netboot.dnsmasq", "Serve TFTP and ProxyDHCP alone: the unit beside serve's."),
}


@click.group(
    cls=LazyGroup,
    modules=NETBOOT_COMMANDS,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="Example: ectools netboot http --root ./boot --bind-ip 192.0.2.1 --port 8080",
)
def netboot() -> None:
    """Stage and serve network-boot artifacts."""


COMMAND = netboot
