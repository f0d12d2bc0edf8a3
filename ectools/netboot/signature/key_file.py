"""A publisher's private key, from its file: whatever is wrong with it is told by the file's name."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ectools.files import read_input
from ectools.netboot.signature import MAX_KEY_BYTES, SignatureError, make_signature

if TYPE_CHECKING:
    from pathlib import Path

    from ectools.netboot.settings.model import SignatureFormat


def read_private_key(form: SignatureFormat, file: Path, *, content: bytes | None = None) -> bytes:
    """A private key that can sign, found out by signing nothing. Raises FileError, SignatureError.

    ``content``: of the file, where it was read already, which of a pipe is possible once.
    """
    found = read_input(file, limit=MAX_KEY_BYTES) if content is None else content
    try:
        make_signature(form, data=b"", private_key=found)
    except SignatureError as error:
        hint = error.hint or f"name the private key's file, and whose it is: this was read as {form}'s"
        raise SignatureError(f"{file}: {error.message}", hint=hint) from error
    return found
