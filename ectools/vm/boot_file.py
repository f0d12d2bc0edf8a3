"""The boot file in the TFTP directory: a given iPXE, or the boot script as QEMU's own iPXE ROM runs it."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from ectools.errors import EcError, InputError
from ectools.files import LockedError, hold_lock, read_regular, write_atomic
from ectools.ipxe.token import CHAIN_TOKEN, read_tokens
from ectools.vm.boot_script import build_boot_script
from ectools.vm.settings import GUEST_OPTIONS

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from ectools.vm.settings import Boot


_MAX_BYTES = 64 << 20  # of a boot file; an iPXE has less than one


def read_token(boot: Boot) -> str | None:
    """The chain token: systemd's credential, else the file that the settings name; None where they name none.

    Raises FileError where it cannot be read, InputError where it is no token. Neither shows it.
    """
    if boot.chain is None or boot.chain.token_file is None:
        return None
    option = f"{GUEST_OPTIONS}.boot.chainTokenFile"
    (token,) = read_tokens(boot.chain.token_file, credential=CHAIN_TOKEN, option=option)
    return token


@contextlib.contextmanager
def hold_boot_file(boot: Boot, *, url: str, token: str | None) -> Iterator[Path]:
    """The boot file for the length of the block. One with a token is only the owner's, and goes at the end.

    ``url`` is the effective one. Raises EcError with the path and the reason; LockedError where another
    runner's guest boots from it.
    """
    net = boot.user_net
    path = net.boot_path
    if net.boot_file is not None:
        content = read_regular(net.boot_file, limit=_MAX_BYTES)
        if not content:
            raise InputError(
                f"{net.boot_file}: empty", hint=f"{GUEST_OPTIONS}.boot.userNet.bootFile is an iPXE"
            )
    else:
        content = build_boot_script(url=url, dns=net.dns, token=token).encode()
    try:
        net.tftp_dir.mkdir(mode=0o750, parents=True, exist_ok=True)
    except OSError as error:
        hint = f"{GUEST_OPTIONS}.boot.userNet.tftpDir"
        raise EcError(f"{net.tftp_dir}: cannot be made: {error.strerror}", hint=hint) from error
    with contextlib.ExitStack() as held:
        try:
            held.enter_context(hold_lock(net.boot_lock, what=f"the boot file {path}"))
        except LockedError as error:
            hint = f"give each guest a {GUEST_OPTIONS}.boot.userNet.tftpDir or .bootFilename of its own"
            raise LockedError(error.message, hint=hint) from error
        write_atomic(path, content, mode=0o644 if token is None else 0o600)
        if token is not None:
            held.callback(path.unlink, missing_ok=True)
        yield path
