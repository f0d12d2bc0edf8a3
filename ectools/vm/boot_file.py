"""The boot file in the TFTP folder: a given iPXE, or the boot script as QEMU's own iPXE ROM runs it."""

from __future__ import annotations

import contextlib
import os
import re
from pathlib import Path
from typing import TYPE_CHECKING

from ectools.errors import EcError, InputError
from ectools.files import read_bytes, write_atomic
from ectools.vm.boot_script import build_boot_script
from ectools.vm.settings import OPTION_PREFIX

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ectools.vm.settings import Boot

CREDENTIAL = "chain-token"
# iPXE before 2020 decodes a URL's query and encodes only some of it again: & and + come out as themselves,
# and what is not ASCII as garbage. These characters arrive as they are.
_TOKEN = re.compile(rb"[A-Za-z0-9._~/=:@-]{1,512}")
_TOKEN_OPTION = f"{OPTION_PREFIX}.boot.chainTokenFile"


def read_token(boot: Boot) -> str | None:
    """The chain token: systemd's credential, else the file that the settings name; None where they name none.

    Raises FileError where it cannot be read, InputError where it is no token. Neither shows it.
    """
    if boot.chain_token_file is None:
        return None
    path = boot.chain_token_file
    folder = os.environ.get("CREDENTIALS_DIRECTORY")
    if folder is not None and (credential := Path(folder) / CREDENTIAL).exists():
        path = credential
    raw = read_bytes(path).strip(b"\r\n")
    if _TOKEN.fullmatch(raw) is None:
        raise InputError(
            f"{path}: holds no token that iPXE can send",
            hint="expected one line of 1 to 512 letters, digits and . _ ~ - / = : @ (hexadecimal or "
            f"URL-safe base64 will do); {_TOKEN_OPTION} names the file",
        )
    return raw.decode("ascii")


@contextlib.contextmanager
def hold_boot_file(boot: Boot, *, url: str, token: str | None) -> Iterator[Path]:
    """The boot file for the length of the block. One with a token is only the owner's, and goes at the end.

    ``url`` is the effective one. Raises EcError with the path and the reason.
    """
    net = boot.user_net
    path = net.tftp_dir / net.boot_filename
    if net.boot_file is not None:
        content = read_bytes(net.boot_file)
        if not content:
            raise InputError(
                f"{net.boot_file}: empty", hint=f"{OPTION_PREFIX}.boot.userNet.bootFile is an iPXE"
            )
    else:
        content = build_boot_script(url=url, dns=net.dns_servers[0], token=token).encode()
    try:
        net.tftp_dir.mkdir(mode=0o750, parents=True, exist_ok=True)
    except OSError as error:
        hint = f"{OPTION_PREFIX}.boot.userNet.tftpDir"
        raise EcError(f"{net.tftp_dir}: cannot be made: {error.strerror}", hint=hint) from error
    write_atomic(path, content, mode=0o644 if token is None else 0o600)
    try:
        yield path
    finally:
        if token is not None:
            path.unlink(missing_ok=True)
