"""The guest's life: prepare, start the boot HTTP server, start QEMU, watch, stop, clean up.

Preparation is plain code under context managers, so that everything is undone in reverse; what runs while
the guest does is one asyncio program.
"""

from __future__ import annotations

import asyncio
import contextlib
import signal
import sys
import termios
from typing import TYPE_CHECKING, NoReturn

from ectools import log
from ectools.ipxe.token import encode_token
from ectools.netboot.http.listen import bind_listener
from ectools.parsing import ListenAddress
from ectools.processes import find_program
from ectools.timers import report_unseen_failures
from ectools.vm.argv import QEMU, QEMU_IMG, Tap
from ectools.vm.boot_file import hold_boot_file, read_token
from ectools.vm.boot_root import check_boot_root
from ectools.vm.boot_script import find_effective_url
from ectools.vm.disk import hold_disk
from ectools.vm.guest_user import become_guest_user
from ectools.vm.loopback_filter import check_loopback
from ectools.vm.settings import GUEST_OPTIONS
from ectools.vm.stop import StopRequest
from ectools.vm.store_hold import PROGRAM, hold_in_store
from ectools.vm.supervise import BoundHttp, GuestPlan, supervise

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ectools.vm.settings import GuestSettings, Http

_log = log.Log(__name__)

_SIGNALS = (signal.SIGTERM, signal.SIGINT)


class _StoppedError(BaseException):
    """A signal came while the guest was being prepared: unwind, and end in order."""


def run_guest(settings: GuestSettings, *, require_filter: bool = False) -> int:
    """Run the guest to its end; returns the exit status. Raises EcError where something fails.

    ``require_filter``: that the guest can reach this host's loopback is an error, not a warning.
    """
    try:
        with _stoppable(), _terminal_restored(), prepare(settings, require_filter=require_filter) as plan:
            try:
                asyncio.run(_run(plan))
            finally:
                _ignore_signals()
    except _StoppedError:
        _log.info("stopped before the guest was started")
    return 0


@contextlib.contextmanager
def prepare(settings: GuestSettings, *, require_filter: bool = False) -> Iterator[GuestPlan]:
    """Everything that QEMU needs, for the length of the block. What is wrong on this host is found here."""
    program = _find_qemu(settings, QEMU)
    image_program = _find_qemu(settings, QEMU_IMG)
    with contextlib.ExitStack() as stack:
        # What may take root: a port below 1024, and a token that is root's alone.
        http = _bind(stack, settings.boot.http)
        token = read_token(settings.boot)
        become_guest_user(settings)
        check_boot_root(settings.boot)
        root = settings.boot.http.root
        stack.enter_context(hold_in_store(PROGRAM, *([] if root is None else [root])))
        url = find_effective_url(settings.boot.chain, http.listen if http else settings.boot.http.listen)
        # As the user that QEMU runs as: it is that one's loopback.
        check_loopback(settings, required=require_filter)
        stack.enter_context(hold_disk(settings.disk, image_program=image_program))
        stack.enter_context(hold_boot_file(settings.boot, url=url, token=token))
        yield GuestPlan(
            settings=settings,
            program=program,
            http=http,
            tap=stack.enter_context(_hold_tap(settings)),
            secrets=() if token is None else (encode_token(token), token),
            interactive="stdio" in settings.serial and sys.stdin.isatty() and sys.stdout.isatty(),
        )


async def _run(plan: GuestPlan) -> None:
    stop = StopRequest()
    loop = asyncio.get_running_loop()
    report_unseen_failures(loop)
    for number in _SIGNALS:
        loop.add_signal_handler(number, stop.ask)
    await supervise(plan, stop)


def _find_qemu(settings: GuestSettings, name: str) -> str:
    if settings.package is None:
        return find_program(name, hint="install QEMU (Debian: qemu-system-x86 and qemu-utils)")
    return find_program(
        str(settings.package / "bin" / name), hint=f"{GUEST_OPTIONS}.package must be a QEMU package"
    )


def _bind(stack: contextlib.ExitStack, http: Http) -> BoundHttp | None:
    """The boot HTTP server's socket, until the end of ``stack``; None where the runner has no server."""
    if http.root is None:
        return None
    socket = stack.enter_context(bind_listener(str(http.listen.ip), http.listen.port))
    listen = ListenAddress(ip=http.listen.ip, port=socket.getsockname()[1])
    return BoundHttp(listener=socket, listen=listen, root=http.root)


@contextlib.contextmanager
def _hold_tap(settings: GuestSettings) -> Iterator[Tap | None]:
    if settings.lan is None:
        yield None
        return
    from ectools.vm.macvtap import hold_macvtap  # its netlink library takes a while to load

    with hold_macvtap(settings.lan.macvtap, settings) as tap:
        yield tap


@contextlib.contextmanager
def _stoppable() -> Iterator[None]:
    """Signals unwind the preparation; asyncio takes them over when the guest starts."""

    def unwind(*_: object) -> NoReturn:
        _ignore_signals()
        raise _StoppedError

    before = {number: signal.signal(number, unwind) for number in _SIGNALS}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _ignore_signals() -> None:
    """What is left is to clean up: it is quick, and must not be cut short."""
    for number in _SIGNALS:
        signal.signal(number, signal.SIG_IGN)


@contextlib.contextmanager
def _terminal_restored() -> Iterator[None]:
    """QEMU puts the terminal into raw mode, and a QEMU that is killed leaves it so."""
    try:
        before = termios.tcgetattr(sys.stdin.fileno())
    except (termios.error, OSError, ValueError):
        yield
        return
    try:
        yield
    finally:
        with contextlib.suppress(termios.error):
            termios.tcsetattr(sys.stdin.fileno(), termios.TCSADRAIN, before)
