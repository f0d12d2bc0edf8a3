"""The rules of ``loopback.py`` in the kernel, for as long as this process lives.

It needs CAP_NET_ADMIN, and the guest's user should not have it: so it is a program of its own, with a unit
of its own.
"""

from __future__ import annotations

import asyncio
import signal
import subprocess
import tempfile
from typing import TYPE_CHECKING

from ectools import log
from ectools.errors import EcError, InputError
from ectools.notify import Notifier
from ectools.outputs import Tail
from ectools.processes import describe_exit, find_program, start_async
from ectools.supervision import tasks
from ectools.vm.child_environment import child_environment
from ectools.vm.loopback import build_rules, find_openings, find_unfiltered, name_table
from ectools.vm.settings import GUEST_OPTIONS, HostLoopback

if TYPE_CHECKING:
    from ectools.vm.settings import GuestSettings

_log = log.Log(__name__)

OPTION = f"{GUEST_OPTIONS}.boot.userNet.hostLoopback"
_SIGNALS = (signal.SIGTERM, signal.SIGINT)
_LOAD_SECONDS = 60.0
_END_SECONDS = 5.0


class LoopbackError(EcError):
    """The guest cannot be kept from this host's loopback; the message holds the reason."""


def build_filter(settings: GuestSettings, *, uid: int) -> str:
    """The rules for a guest with these settings. Raises InputError where they cannot be known beforehand."""
    boot = settings.boot
    if boot.http.root is not None and boot.http.listen.port == 0:
        raise InputError(
            f"{GUEST_OPTIONS}.boot.http.port: 0 takes a port that the rules for the loopback cannot name",
            hint=f'name a port, or set {OPTION} to "{HostLoopback.ALL}"',
        )
    return build_rules(find_openings(boot), uid=uid)


def check_loopback(settings: GuestSettings, *, required: bool) -> None:
    """Try whether the guest's user is kept from the loopback, where the settings want it so.

    Where it is not: raises LoopbackError if that is ``required``, and else warns.
    """
    if settings.boot.user_net.host_loopback is HostLoopback.ALL:
        return
    try:
        address = find_unfiltered()
    except OSError as error:
        raise LoopbackError(f"the loopback cannot be tried: {error.strerror}", hint=OPTION) from error
    if address is None:
        return
    message = "the guest can reach every service on this host's loopback"
    remedy = f'have ectools vm loopback-filter run, or set {OPTION} to "{HostLoopback.ALL}"'
    if required:
        raise LoopbackError(f"{message}: a connection to {address} was not refused", hint=remedy)
    _log.warning(message, address=address, remedy=remedy)


def hold_filter(rules: str, *, uid: int) -> None:
    """Keep the rules in the kernel until SIGTERM or SIGINT. Raises EcError where that fails."""
    program = find_program("nft", hint="install nftables (Debian: nftables)")
    asyncio.run(_hold(program, rules, uid=uid))


async def _hold(program: str, rules: str, *, uid: int) -> None:
    stop, notifier = asyncio.Event(), Notifier()
    for number in _SIGNALS:
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    # Interactive, because its netlink socket, which the table belongs to, stays open with its input.
    async with start_async(
        [program, "--interactive"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        env={**child_environment(), "HOME": "/nonexistent"},  # it would leave a history there
        term_seconds=_END_SECONDS,
    ) as nft:
        try:
            async with asyncio.timeout(_LOAD_SECONDS):
                await _load(nft, rules, uid=uid)
        except TimeoutError:
            raise LoopbackError(f"{program}: no answer within {_LOAD_SECONDS:g} s") from None
        _log.info("the guest's user is kept from the loopback", table=name_table(uid), uid=uid)
        notifier.ready()
        notifier.status(f"the user {uid} is kept from the loopback")
        async with tasks(stop.wait(), nft.wait()) as (stopping, ended):
            await asyncio.wait({stopping, ended}, return_when=asyncio.FIRST_COMPLETED)
            if ended.done() and not stopping.done():
                raise LoopbackError(
                    f"{program} ended, and the rules with it: {describe_exit(ended.result())}"
                )


async def _load(nft: asyncio.subprocess.Process, rules: str, *, uid: int) -> None:
    """Give nft the rules. Raises LoopbackError with what it says where it does not take them.

    It confirms nothing: so it is asked for the table afterwards, whose last line is a brace.
    """
    if nft.stdin is None or nft.stdout is None:
        raise ValueError("nft has no pipes")
    tail, errors = Tail(), Tail()
    with tempfile.NamedTemporaryFile("w", prefix="loopback-", suffix=".nft") as file:
        # From a file: of its input it takes each line for a command.
        file.write(rules)
        file.flush()
        nft.stdin.write(f'include "{file.name}"\nlist table inet {name_table(uid)}\n'.encode())
        while raw := await nft.stdout.readline():
            line = raw.decode(errors="replace").rstrip()
            if line == "}" and not errors.lines():
                return
            tail.add(line)
            if "Error" in line:
                errors.add(line.rpartition("Error: ")[2])
                nft.stdin.close()
    status = await nft.wait()
    # It repeats one error for each line of the rules.
    reasons = list(dict.fromkeys(errors.lines() or tail.lines())) or [describe_exit(status)]
    raise LoopbackError(
        f"the rules for the loopback cannot be loaded; nft: {'; '.join(reasons)}",
        hint="they need CAP_NET_ADMIN, nf_tables and nft_reject_inet of Linux 5.12 or later, and no other"
        f" program may hold the table {name_table(uid)} (nft list tables)",
    )
