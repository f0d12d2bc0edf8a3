"""Where a shim looks for what it starts: the same server and protocol, but not always its own directory."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from ectools.ipxe.language import join_uri
from ectools.netboot.probe.clients.client import ClientStage

if TYPE_CHECKING:
    from ectools.netboot.boot_files.shim import ShimFacts
    from ectools.netboot.probe.simulate.choose import Choice


@dataclass(frozen=True, kw_only=True)
class SecondStage:
    """The URI that a shim asks for; ``why`` ends a sentence on it, where that is another directory."""

    uri: str
    why: str = ""


def find_second_stage(uri: str, shim: ShimFacts, choice: Choice) -> SecondStage | None:
    """What the shim at ``uri``, which ``choice`` led to, asks for next; None where that is not known."""
    path = urlsplit(uri).path.lstrip("/")
    over_http = choice.client.stage is ClientStage.HTTP
    from_option = not over_http and not choice.has_file_field
    wanted = shim.find_second_stage(path, from_option=from_option)
    if wanted is None:
        return None
    if over_http and not shim.by_own_name:
        # As shim 16 asks: with two slashes, which a server has to take for one.
        directory, _, name = wanted.rpartition("/")
        wanted = f"{directory}//{name}" if directory else f"/{name}"
    elsewhere = from_option and "/" in path
    why = "; it looks in the root, because its name came in option 67 alone" if elsewhere else ""
    return SecondStage(uri=join_uri(uri, f"/{wanted}"), why=why)
