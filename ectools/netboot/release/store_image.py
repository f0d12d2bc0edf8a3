"""The Nix store that a system's stage 1 fetches by itself, once it runs: a file of the release.

``netboot.ipxe`` has the kernel's argument ``every_channel.store=${cwuri}``: the image lies beside whatever
file the value is the URL of (https://ipxe.org/cfg/cwuri: the script's own). A boot server puts its own URLs
there, and those of its mirrors, with commas between them. Which image it is, stage 1 knows by itself: the
initrd has the SHA-256 of each piece of it (nix/modules/fetch-store.sh).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

STORE_NAME = "store.squashfs"
_ARGUMENT = "every_channel.store"
BESIDE_SCRIPT = f"{_ARGUMENT}=${{cwuri}}"
"""The kernel's argument in a release's netboot.ipxe."""


def build_store_argument(urls: Iterable[str]) -> str:
    """The kernel's argument where the image is served at each of ``urls``: in this order it is asked for."""
    return f"{_ARGUMENT}={','.join(urls)}"
