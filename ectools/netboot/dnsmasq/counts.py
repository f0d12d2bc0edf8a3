"""What dnsmasq's log tells of clients, by their architecture: as many counts as there are of these."""

from __future__ import annotations

import re
from collections import Counter
from typing import TYPE_CHECKING, Any

from ectools.netboot.protocols import load_protocols

if TYPE_CHECKING:
    from collections.abc import Mapping

OTHER_ARCHITECTURE = "other"
"""What counts for an architecture that no boot binary is for, or a client that does not say its own."""
# Of UEFI's and PXE's clients, option 60 has what option 93 has too (PXE specification 2.1, table 2-1).
_VENDOR_CLASS = re.compile(r"(?:PXE|HTTP)Client:Arch:(\d{5})(?::.*)?", re.ASCII | re.DOTALL)
_MAX_COUNT = 2**63


def name_architecture(vendor_class: str | None) -> str:
    """The name of a client's architecture in ``protocols.json``, by its vendor class."""
    found = _VENDOR_CLASS.fullmatch(vendor_class or "")
    known = None if found is None else load_protocols().find_architecture(int(found[1]))
    return OTHER_ARCHITECTURE if known is None else known.name


class ClientCounts:
    """Since the start of whoever reads the log; the probe's questions are left out.

    ``offers``: architecture → answers of ProxyDHCP, ``ignored`` → clients that it has no boot binary for.
    ``failed``: files that TFTP could not send to their end.
    """

    def __init__(self) -> None:
        self.offers: Counter[str] = Counter()
        self.ignored: Counter[str] = Counter()
        self.failed = 0

    def to_json(self) -> Mapping[str, Any]:
        return {"offers": self.offers, "ignored": self.ignored, "failed": self.failed}

    @classmethod
    def from_json(cls, data: Any) -> ClientCounts:
        """Raises ValueError for what ``to_json`` does not make."""
        counts = cls()
        match data:
            case {"offers": dict(offers), "ignored": dict(ignored), "failed": failed}:
                counts.offers.update(_check_counts(offers))
                counts.ignored.update(_check_counts(ignored))
                counts.failed = _check_counts({OTHER_ARCHITECTURE: failed})[OTHER_ARCHITECTURE]
            case _:
                raise ValueError("no counts of clients")
        return counts


def _check_counts(data: Mapping[str, Any]) -> Mapping[str, int]:
    known = {OTHER_ARCHITECTURE, *(each.name for each in load_protocols().architectures)}
    for name, count in data.items():
        if name not in known or type(count) is not int or not 0 <= count < _MAX_COUNT:
            raise ValueError(f"{name}: {count} is no count of an architecture's")
    return data
