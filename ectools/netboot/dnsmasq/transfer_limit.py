"""What one address may take of TFTP, which dnsmasq does not bound: a table of nftables (ectools/nft.py).

A client that asks for a file and says nothing more holds a transfer of dnsmasq 2.90 for 28 s, and one that
acknowledges a block every 4 s holds it for ever. So the transfers of an address are counted while they last,
as the kernel's connection tracking sees them: for 30 s after the last packet (nf_conntrack_udp_timeout), and
120 s where there were many. An address that has its share is refused for a few seconds more, before dnsmasq
reads its requests.
"""

from __future__ import annotations

import contextlib
import pwd
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ectools import log
from ectools.capabilities import Capability, has_capability
from ectools.errors import EcError, InputError
from ectools.netboot.dnsmasq.plan import fit_transfers
from ectools.netboot.protocols import load_protocols
from ectools.nft import apply, find_nft, has_table, read_counters, render_load, render_removal

if TYPE_CHECKING:
    from ipaddress import IPv4Address

    from ectools.netboot.settings.model import ServerSettings

_log = log.Log(__name__)

FAMILY = "ip"
UNIT_TABLE = "every_channel_tftp"
"""The table of the unit, which its ExecStopPost= removes by this name."""
REFUSED = "refused"
"""The counter of what was turned away."""

_PART = 8
# A client asks for a few files, some of them twice: for the size, then for the content.
_LEAST_SHARE = 32
_MAX_ADDRESSES = 65536
# Which a program of the same user may send to. No TFTP client asks from them.
_OTHER_PORTS = "{ 53, 123, 443 }"


@dataclass(frozen=True, kw_only=True)
class TransferShare:
    """The limits of one dnsmasq. ``uid``: whose sockets to ``address`` are its; ``max_transfers``: of all
    clients.
    """

    address: IPv4Address
    max_transfers: int
    uid: int

    @property
    def transfers(self) -> int:
        """How many transfers an address may have."""
        return max(_LEAST_SHARE, self.max_transfers // _PART)


def render_share(share: TransferShare) -> str:
    """The table's body. This host's own requests are let through: it asks whether dnsmasq is there.

    Each hook has one rule, which says what is dnsmasq's. Rules that accept what is not would let on to the
    next whatever lacks what they look at: packets that are the kernel's own (VXLAN, WireGuard) have no user.
    """
    most, port = share.transfers, load_protocols().ports.tftp
    return f"""\
  set transfers {{ type ipv4_addr; size {_MAX_ADDRESSES}; flags dynamic; }}
  set crowded {{ type ipv4_addr; size {_MAX_ADDRESSES}; flags dynamic, timeout; timeout 5s; }}
  set asking {{ type ipv4_addr; size {_MAX_ADDRESSES}; flags dynamic, timeout; timeout 60s; }}
  counter {REFUSED} {{ }}
  chain refuse {{
    counter name {REFUSED}
    limit rate 1/minute burst 1 packets log prefix "every.channel TFTP refuses: " level info
    drop
  }}
  chain crowd {{
    update @crowded {{ ip daddr }}
    drop
  }}
  chain ask {{
    udp sport {_OTHER_PORTS} jump refuse
    ip saddr @crowded jump refuse
    update @asking {{ ip saddr limit rate over {max(1, most // 16)}/second burst {most} packets }} jump refuse
  }}
  chain answer {{
    udp sport < 1024 accept
    udp dport {_OTHER_PORTS} accept
    ct state {{ new, related }} add @transfers {{ ip daddr ct count over {most} }} jump crowd
  }}
  chain output {{
    type filter hook output priority filter; policy accept;
    oifname != "lo" ip saddr {share.address} meta l4proto udp meta skuid {share.uid} jump answer
  }}
  chain input {{
    type filter hook input priority filter; policy accept;
    iifname != "lo" ip daddr {share.address} udp dport {port} jump ask
  }}
"""


def load_unit_table(settings: ServerSettings, *, user: str) -> None:
    """Load the unit's table. Without nft, or where the kernel rejects it, TFTP goes without, with a warning.

    Raises InputError where there is no such user.
    """
    try:
        uid = pwd.getpwnam(user).pw_uid
    except KeyError as error:
        raise InputError(f"there is no user {user}", hint="name the one that dnsmasq runs as") from error
    # dnsmasq is started with the same limit of open files. More than it has would leave no share to others.
    transfers = fit_transfers(settings.tftp.max_transfers)
    share = TransferShare(address=settings.listen_ip, max_transfers=transfers, uid=uid)
    TransferTable(UNIT_TABLE).load(share)


class TransferTable:
    """One table, loaded and removed with CAP_NET_ADMIN. Nothing here raises: TFTP is served without too."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._program: str | None = None
        self._share: TransferShare | None = None
        self._warned = False
        self._rejected = 0

    @classmethod
    def of_program(cls, address: IPv4Address) -> TransferTable:
        """The table of a boot server that is started by hand: one for each address that is served."""
        return cls(f"{UNIT_TABLE}_{str(address).replace('.', '_')}")

    @classmethod
    def of_unit(cls) -> TransferTable:
        """The unit's, loaded and removed by its service manager. Where that may be, its counter is read,
        and it is loaded again if somebody has taken it away.
        """
        table = _UnitTable(UNIT_TABLE)
        table._program = find_nft() if has_capability(Capability.NET_ADMIN) else None
        return table

    def load(self, share: TransferShare) -> None:
        """Load it, in place of one of the same name."""
        if share.address.is_loopback:
            return  # nobody else is there
        if not has_capability(Capability.NET_ADMIN):
            self._warn_once("it takes root, or CAP_NET_ADMIN")
            return
        program = find_nft()
        if program is None:
            self._warn_once("nft is not installed (package nftables)")
            return
        try:
            apply(program, render_load(FAMILY, self._name, render_share(share)))
        except EcError as error:
            self._warn_once(error.message)
        else:
            self._program, self._share = program, share

    def count_rejected(self) -> int | None:
        """The requests that were turned away since the last time; None where that cannot be known.

        A firewall that is loaded anew may take all tables away, so one that is not there is loaded again.
        """
        if self._program is None:
            return None
        with contextlib.suppress(EcError):
            counted = read_counters(self._program, FAMILY, self._name).get(REFUSED, 0)
            # A table that was loaded anew begins to count anew.
            before, self._rejected = self._rejected, counted
            return counted - before if counted >= before else counted
        with contextlib.suppress(EcError):
            self._load_again(self._program)
        return 0

    def _load_again(self, program: str) -> None:
        if self._share is None or has_table(program, FAMILY, self._name):
            return
        apply(program, render_load(FAMILY, self._name, render_share(self._share)))
        _log.warning(
            "TFTP's limit per address was gone, and is loaded again",
            table=self._name,
            reason="another program has removed it: a firewall that begins with flush ruleset does so",
        )

    def remove(self) -> None:
        """Remove what was loaded."""
        if self._program is None:
            return
        try:
            apply(self._program, render_removal(FAMILY, self._name))
        except EcError as error:
            _log.warning("a table of nftables is left behind", table=self._name, reason=error.message)
        self._program = None

    def _warn_once(self, reason: str) -> None:
        if not self._warned:
            self._warned = True
            _log.warning("TFTP has no limit per address: one client can take all transfers", reason=reason)


class _UnitTable(TransferTable):
    def load(self, share: TransferShare) -> None:
        """Nothing: it is loaded. What it is made of counts where it has to be loaded again."""
        self._share = share

    def remove(self) -> None:
        """Nothing: it is another's to remove."""
