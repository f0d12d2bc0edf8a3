"""The forge's token: from a file, which a service manager may hand on, or the environment."""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING

from ectools.credentials import find_secret
from ectools.errors import InputError
from ectools.files import read_input

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

CREDENTIAL = "forge-token"
FORGE_VARIABLE = "EVERY_CHANNEL_FORGE_TOKEN"

_MAX_BYTES = 64 << 10
# What a header can carry, without a space (RFC 9110, section 5.5).
_TOKEN = re.compile(rb"[\x21-\x7e]{1,4096}")


def find_forge_token(token_file: Path | None, *, environment: Mapping[str, str] | None = None) -> str | None:
    """The token; None where there is none. The file goes before the variable.

    Raises FileError, InputError; neither holds the token.
    """
    environment = os.environ if environment is None else environment
    if token_file is not None:
        path = find_secret(token_file, credential=CREDENTIAL)
        return _check(read_input(path, limit=_MAX_BYTES), str(path))
    variable = environment.get(FORGE_VARIABLE)
    return _check(os.fsencode(variable), f"${FORGE_VARIABLE}") if variable else None


def _check(raw: bytes, where: str) -> str:
    token = raw.strip()
    if not _TOKEN.fullmatch(token):
        raise InputError(
            f"{where}: holds no token: one line of letters, digits and signs was expected",
            hint="Forgejo makes tokens under Settings, Applications",
        )
    return token.decode()
