"""The file of a SQLite store: opened, its schema brought up to date, moved aside where it is corrupt.

``synchronous = NORMAL`` in WAL mode (https://www.sqlite.org/pragma.html#pragma_synchronous): what was
committed survives any end of this program, because it has been written to the kernel by then. A power cut or
the kernel's own end may lose the transactions since the last checkpoint, and never breaks the file. FULL
would wait for the disk at each commit: while a release is staged beside it that is seconds, for a machine's
script.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
from typing import TYPE_CHECKING

from ectools import log
from ectools.netboot.state.interface import StateError

if TYPE_CHECKING:
    from pathlib import Path

_log = log.Log(__name__)

MIGRATIONS = (
    # AUTOINCREMENT: a revision that was given is not given again, also where the newest entry is deleted.
    """
    CREATE TABLE entries (
      revision INTEGER PRIMARY KEY AUTOINCREMENT,
      key TEXT NOT NULL UNIQUE,
      changed REAL NOT NULL,
      value TEXT NOT NULL
    );
    CREATE TABLE events (
      sequence INTEGER PRIMARY KEY AUTOINCREMENT,
      at REAL NOT NULL,
      kind TEXT NOT NULL,
      subject TEXT NOT NULL,
      by TEXT,
      data TEXT NOT NULL
    );
    """,
)
"""Scripts, each from a version of the schema to the next; ``PRAGMA user_version`` says how many have run."""

# To which the log of what was committed (``-wal``) is cut, once it has been written back.
_LOG_BYTES = 16 << 20
LONG_LOG_BYTES = 64 << 20
"""Of that log, beyond which commits wait until it has been cut."""
_MODE = 0o600
_BUSY_SECONDS = 5.0
_CORRUPT = frozenset({sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB})


class NewerSchemaError(StateError):
    """The file is of a later version of this program, whose schema this one does not know."""


def open_database(path: Path) -> sqlite3.Connection:
    """A connection in autocommit mode, to be used by this thread alone.

    A file that is corrupt is moved aside first: ``<name>.corrupt``, the last such one. Raises sqlite3.Error,
    OSError, NewerSchemaError.
    """
    with contextlib.suppress(_CorruptError):
        return _open(path)
    _move_aside(path)
    return _open(path)


def is_corrupt(error: BaseException) -> bool:
    """Whether an error says that the file is broken, or none of SQLite's."""
    # The extended codes have the primary one in their low byte (https://www.sqlite.org/rescode.html).
    return isinstance(error, sqlite3.Error) and getattr(error, "sqlite_errorcode", 0) & 0xFF in _CORRUPT


def write_back(path: Path) -> None:
    """Write what was committed back to the file, beside the connection that goes on to write. It may take its
    time: fsync(2), twice. Raises sqlite3.Error.
    """
    with contextlib.closing(sqlite3.connect(path, isolation_level=None, timeout=0)) as connection:
        connection.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()


def is_log_long(path: Path) -> bool:
    """Whether the log of what was committed has not begun anew for long: it does where nothing is committed
    while it is written back.
    """
    try:
        return path.with_name(f"{path.name}-wal").stat().st_size > LONG_LOG_BYTES
    except OSError:
        return False


def cut_log(connection: sqlite3.Connection) -> None:
    """Have the log begin anew, by the connection that writes: nothing is committed meanwhile, nor waits for
    more than what came since the last ``write_back``. A disk that cannot do that is told there.

    While somebody reads (a backup), it stays as it is, and is cut another time: readers are not waited for.
    """
    (waits,) = connection.execute("PRAGMA busy_timeout").fetchone()
    connection.execute("PRAGMA busy_timeout = 0")
    try:
        with contextlib.suppress(sqlite3.OperationalError):
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
    finally:
        connection.execute(f"PRAGMA busy_timeout = {waits}")


class _CorruptError(Exception):
    pass


def _open(path: Path) -> sqlite3.Connection:
    # SQLite would make it readable for all; its -wal and -shm get the file's own mode.
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, _MODE)
    try:
        os.fchmod(descriptor, _MODE)
    finally:
        os.close(descriptor)
    connection = sqlite3.connect(path, isolation_level=None, timeout=_BUSY_SECONDS)
    try:
        _set_up(connection, path)
    except BaseException as error:
        connection.close()
        if is_corrupt(error):
            raise _CorruptError from error
        raise
    return connection


def _set_up(connection: sqlite3.Connection, path: Path) -> None:
    connection.execute("PRAGMA journal_mode = WAL").fetchone()
    connection.execute("PRAGMA synchronous = NORMAL")
    # Not within a commit that somebody waits for: see ``write_back``.
    connection.execute("PRAGMA wal_autocheckpoint = 0")
    connection.execute(f"PRAGMA journal_size_limit = {_LOG_BYTES}")
    (verdict,) = connection.execute("PRAGMA quick_check(1)").fetchone()
    if verdict != "ok":
        raise _CorruptError(verdict)
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    if version > len(MIGRATIONS):
        raise NewerSchemaError(
            f"{path}: its schema is version {version}, and this program knows {len(MIGRATIONS)} at most",
            hint="it was written by a later version: use that one, or move the file away",
        )
    for number, script in enumerate(MIGRATIONS[version:], start=version + 1):
        connection.executescript(f"BEGIN IMMEDIATE; {script} PRAGMA user_version = {number}; COMMIT;")


def _move_aside(path: Path) -> None:
    aside = path.with_name(f"{path.name}.corrupt")
    for suffix in ("", "-wal"):
        with contextlib.suppress(FileNotFoundError):
            path.with_name(path.name + suffix).replace(aside.with_name(aside.name + suffix))
    path.with_name(f"{path.name}-shm").unlink(missing_ok=True)
    _log.error(
        "the file of what was remembered is corrupt; it was moved aside, and a new one is begun",
        file=str(path),
        moved_to=str(aside),
    )
