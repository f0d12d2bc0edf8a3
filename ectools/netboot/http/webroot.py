"""A request's path → an opened regular file below the root, or the reason why not.

The kernel resolves the path, links and all, into a descriptor that can neither read nor write (O_PATH:
open(2)); what it resolved to is asked of the descriptor itself. So nothing can be swapped between the check
and the use, and looking at a fifo or a device has no effect on it.
"""

from __future__ import annotations

import errno
import os
import re
import stat
from dataclasses import dataclass
from hashlib import blake2b
from typing import TYPE_CHECKING
from urllib.parse import unquote_to_bytes

from ectools.errors import EcError, InputError
from ectools.netboot.http.conditional import Validators

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

_BAD_PERCENT = re.compile(r"%(?![0-9A-Fa-f]{2})")
_HINT = "give the directory that holds the boot files (kernel, initrd, netboot.ipxe)"
_DESCRIPTOR_PATH = b"/proc/self/fd/%d"
# Nix gives every file in its store this date, which therefore says nothing of when it changed.
_STORE_MTIME = 1


class RejectedError(EcError):
    """A request that is not served: the HTTP status, and a sentence for the client that names no path.

    ``document``: what a client that is a program gets as JSON in place of the sentence.
    """

    def __init__(self, status: int, message: str, *, document: Mapping[str, str] | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.document = document


@dataclass(frozen=True, kw_only=True)
class OpenedFile:
    """A regular file, open for reading: whoever holds it closes ``descriptor``."""

    descriptor: int
    status: os.stat_result


def parse_target(target: str) -> tuple[bytes, ...]:
    """The segments of a request target's path, percent-decoded once each; the query is dropped.

    Slashes in a row count as one, because scripts join ``${base}/`` and ``/kernel``; a slash at the end
    asks for a directory and gives an empty last segment. Raises RejectedError: 400 for what could mean
    another path to somebody (``..``, an encoded slash, NUL, a broken escape).
    """
    path = target.partition("?")[0]
    if not path.startswith("/"):
        # The absolute form, which every server must take (RFC 9112, section 3.2.2).
        scheme, found, rest = path.partition("://")
        if not found or scheme.lower() not in ("http", "https"):
            raise RejectedError(400, "the request target is not a path")
        path = "/" + rest.partition("/")[2]
    if _BAD_PERCENT.search(path) or "#" in path:
        raise RejectedError(400, "the path is not well encoded")
    *directories, last = path.split("/")
    segments = [decode_segment(segment) for segment in (*filter(None, directories), last)]
    return tuple(segments)


def decode_segment(segment: str) -> bytes:
    """One percent-decoded segment. Raises RejectedError (400) where it is not one plain name."""
    # aiohttp decodes the request line as UTF-8 and keeps other bytes as surrogates.
    name = unquote_to_bytes(segment.encode("utf-8", "surrogateescape"))
    if name in (b".", b"..") or b"/" in name or b"\0" in name:
        raise RejectedError(400, "the path has a segment that is no name")
    return name


class WebRoot:
    """The directory that is served, looked up anew for each request: it may be a link that is swapped."""

    def __init__(self, root: Path, *, store: Path) -> None:
        self._root = os.fsencode(root.absolute())
        self._store = os.fsencode(store).rstrip(b"/") + b"/"

    def check(self) -> None:
        """Raises InputError where the root is missing, no directory or closed to this user."""
        shown = os.fsdecode(self._root)
        try:
            root = self._open_root()
        except OSError as error:
            raise InputError(f"{shown}: cannot be served: {error.strerror}", hint=_HINT) from error
        try:
            _find_place(root)
        except OSError as error:
            raise EcError(
                "/proc is not mounted, and the boot HTTP server resolves its paths there"
            ) from error
        finally:
            os.close(root)
        if not os.access(self._root, os.X_OK, effective_ids=os.access in os.supports_effective_ids):
            raise InputError(f"{shown}: cannot be served: Permission denied", hint=_HINT)

    def is_there(self) -> bool:
        """Whether the root can be served now."""
        try:
            self.check()
        except EcError:
            return False
        return True

    def find_path(self, segments: tuple[bytes, ...]) -> bytes:
        """The path that the segments name, unresolved. RejectedError (404) for directories and hidden names.

        Names with a leading dot are not served: they are temporary files of atomic writers, half written, and
        what editors and version control leave behind.
        """
        if not segments[-1] or any(segment.startswith(b".") for segment in segments):
            raise RejectedError(404, "not found")
        return self._root + b"/" + b"/".join(segments)

    def open(self, segments: tuple[bytes, ...]) -> OpenedFile:
        """Open the regular file that the segments name. Raises RejectedError: 403, 404, 500 or 503."""
        self.find_path(segments)
        try:
            root = self._open_root()
        except OSError as error:
            raise RejectedError(503, "the boot files are not there at the moment") from error
        try:
            handle = os.open(b"/".join(segments), os.O_PATH | os.O_CLOEXEC, dir_fd=root)
            try:
                self._check_place(handle, root)
                # Through /proc, so that it is this very file that is opened.
                descriptor = os.open(_DESCRIPTOR_PATH % handle, os.O_RDONLY | os.O_CLOEXEC)
            finally:
                os.close(handle)
        except OSError as error:
            raise _rejection(error) from error
        finally:
            os.close(root)
        return OpenedFile(descriptor=descriptor, status=os.fstat(descriptor))

    def _open_root(self) -> int:
        return os.open(self._root, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)

    def _check_place(self, handle: int, root: int) -> None:
        if not stat.S_ISREG(os.fstat(handle).st_mode):
            raise RejectedError(404, "not found")
        where = _find_place(handle)
        below = _find_place(root).rstrip(b"/") + b"/"
        if not where.startswith((below, self._store)):
            raise RejectedError(404, "not found")


def build_validators(status: os.stat_result, *, now: float) -> Validators:
    """Size, entity tag and date of an opened file.

    The tag holds the inode and its change time too: two files of a Nix store may agree in size and date. It
    is hashed, since an inode number is nobody's business. Files of a store have no date worth sending.
    """
    identity = f"{status.st_dev}:{status.st_ino}:{status.st_size}:{status.st_mtime_ns}:{status.st_ctime_ns}"
    tag = blake2b(identity.encode(), digest_size=12).hexdigest()
    # No date may lie in the future (RFC 9110, section 8.8.2.1).
    modified = min(int(status.st_mtime), int(now))
    return Validators(
        size=status.st_size, etag=f'"{tag}"', modified=modified if modified > _STORE_MTIME else None
    )


def _find_place(descriptor: int) -> bytes:
    """The path of what is open, without links (proc(5): /proc/pid/fd)."""
    return os.readlink(_DESCRIPTOR_PATH % descriptor)  # noqa: PTH115 - paths are bytes


def _rejection(error: OSError) -> RejectedError:
    if error.errno in (errno.EACCES, errno.EPERM):
        return RejectedError(403, "the server may not read this file")
    if error.errno in (errno.EMFILE, errno.ENFILE, errno.ENOMEM):
        return RejectedError(503, "the server is out of descriptors or memory")
    if error.errno in (errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.ENAMETOOLONG, errno.ENXIO):
        return RejectedError(404, "not found")
    return RejectedError(500, "the file cannot be read")
