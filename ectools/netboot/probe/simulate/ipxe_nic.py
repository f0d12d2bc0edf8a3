"""The one NIC of a simulated machine, ``net0``: open from the beginning, as after a boot over it.

What configures it succeeds, and what names another NIC alone does not; while it is closed, nothing is fetched
(usr/ifmgmt.c and hci/commands/ifmgmt_cmd.c of iPXE's source).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from ectools.ipxe.language import split_options

if TYPE_CHECKING:
    from collections.abc import Sequence

_NAME, _LAST_OPENED = "net0", "netX"


@dataclass
class SimulatedNic:
    is_open: bool = True

    def configure(self, words: Sequence[str]) -> bool:
        """``dhcp``, ``ifconf``, ``ifopen``, ``iflinkwait``: the named NICs, or all."""
        if not self._is_meant(words):
            return False
        self.is_open = True
        return True

    def close(self, words: Sequence[str]) -> bool:
        """``ifclose``, which succeeds whatever it is given."""
        if self._is_meant(words):
            self.is_open = False
        return True

    def find_setting(self, name: str) -> str:
        """The name of a setting as it is kept: ``netX`` is the NIC that was opened last, or none."""
        block, slash, setting = name.partition("/")
        return f"{_NAME}/{setting}" if slash and block == _LAST_OPENED and self.is_open else name

    def _is_meant(self, words: Sequence[str]) -> bool:
        _, names = split_options(words)
        return not names or _NAME in names or (_LAST_OPENED in names and self.is_open)


def name_nic(mac: str) -> dict[str, str]:
    """The settings by which a script finds the NIC."""
    return {f"{_NAME}/mac": mac, f"{_NAME}/ifname": _NAME}
