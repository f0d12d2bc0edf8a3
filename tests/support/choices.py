"""Who is offered what, and what came of it, for tests of how a client chooses."""

from __future__ import annotations

from ipaddress import IPv4Address

from support.pxe_messages import answer, client_of

from ectools.netboot.probe.faults import FaultCode, Severity
from ectools.netboot.probe.simulate.choose import Choice
from ectools.netboot.probe.wire.offers import Answer

UEFI, BIOS, HTTP, IPXE = client_of(7), client_of(0), client_of(16), client_of(7, ipxe=True)
LAST = IPv4Address("192.0.2.4")


class Servers(dict[IPv4Address, Answer]):
    """Answers port 4011, and keeps who was asked for what."""

    def __init__(self, *answers: Answer) -> None:
        super().__init__({each.server: each for each in answers})
        self.asked: list[tuple[IPv4Address, int | None]] = []

    def __call__(self, server: IPv4Address, item: int | None) -> Answer | None:
        self.asked.append((server, item))
        return self.get(server)


def serving(server: IPv4Address, file: str = "b.efi") -> Answer:
    return answer(server, siaddr=server, file=file, vendor_class="PXEClient")


def told(choice: Choice) -> list[tuple[FaultCode, str]]:
    assert all(fault.client == choice.client and fault.severity is Severity.ERROR for fault in choice.faults)
    return [(fault.code, fault.message) for fault in choice.faults]


def uri(choice: Choice) -> str | None:
    return None if choice.target is None else choice.target.uri
