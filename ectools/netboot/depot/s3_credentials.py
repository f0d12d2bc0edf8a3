"""The access key of an S3 store: from a file as Amazon's programs have it, or their environment variables."""

from __future__ import annotations

import configparser
import os
import re
from typing import TYPE_CHECKING

from ectools.credentials import find_secret
from ectools.errors import InputError
from ectools.fetch.sigv4 import S3Credentials
from ectools.files import read_input

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

S3_CREDENTIAL = "store-credentials"
_MAX_BYTES = 64 << 10
_SECTION = "default"
_KEY, _SECRET, _TOKEN = "aws_access_key_id", "aws_secret_access_key", "aws_session_token"
_WORD = re.compile(r"[\x21-\x7e]{1,4096}")


def find_s3_credentials(
    file: Path | None, *, environment: Mapping[str, str] | None = None
) -> S3Credentials | None:
    """The access key; None where there is none: then requests are not signed, which is enough for a public
    bucket. The file goes before the variables. Raises FileError, InputError; neither holds the key.
    """
    environment = os.environ if environment is None else environment
    if file is not None:
        path = find_secret(file, credential=S3_CREDENTIAL)
        return _build(_parse(read_input(path, limit=_MAX_BYTES), str(path)), str(path))
    given = {name: environment.get(name.upper(), "") for name in (_KEY, _SECRET, _TOKEN)}
    return _build(given, f"${_KEY.upper()}, ${_SECRET.upper()}") if given[_KEY] or given[_SECRET] else None


def _parse(data: bytes, where: str) -> Mapping[str, str]:
    """The section ``[default]`` (AWS CLI, "Configuration and credential file settings")."""
    parser = configparser.RawConfigParser()
    try:
        parser.read_string(data.decode())
        return parser[_SECTION]
    except (configparser.Error, KeyError, UnicodeDecodeError):
        # Their texts hold the lines.
        raise _bad(where) from None


def _build(given: Mapping[str, str], where: str) -> S3Credentials:
    key, secret, token = (given.get(name, "").strip() for name in (_KEY, _SECRET, _TOKEN))
    if not all(map(_WORD.fullmatch, (key, secret, token or "-"))) or "/" in key:
        raise _bad(where)
    return S3Credentials(access_key=key, secret_key=secret, token=token or None)


def _bad(where: str) -> InputError:
    return InputError(
        f"{where}: holds no access key", hint=f"a file has [{_SECTION}], {_KEY} = … and {_SECRET} = …"
    )
