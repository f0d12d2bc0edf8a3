"""What the kernel has of what was sent to a client."""

from __future__ import annotations

import fcntl
import struct
import termios


def count_unread(socket: int) -> int:
    """Bytes in the socket's send buffer that the client has not acknowledged (tcp(7): SIOCOUTQ)."""
    return int(struct.unpack("i", fcntl.ioctl(socket, termios.TIOCOUTQ, bytes(4)))[0])
