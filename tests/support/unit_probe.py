"""Runs in the sandbox of a unit, in its program's place: says what it may do there, as one line of JSON.

Arguments: JSON with ``paths`` to write to and ``credential``, the name of one.
"""

from __future__ import annotations

import errno
import functools
import hashlib
import json
import os
import socket
import subprocess
import sys
from collections.abc import Callable
from typing import Any

FAMILIES = ("UNIX", "INET", "INET6", "NETLINK", "PACKET", "ALG", "VSOCK", "BLUETOOTH", "CAN")


def try_to(act: Callable[[], Any]) -> str:
    """ "yes", or the name of the error."""
    try:
        act()
    except OSError as error:
        return errno.errorcode[error.errno or 0]
    return "yes"


def open_family(name: str) -> None:
    kind = socket.SOCK_SEQPACKET if name in ("ALG", "BLUETOOTH") else socket.SOCK_DGRAM
    number = {"ALG": 38, "VSOCK": 40, "BLUETOOTH": 31, "CAN": 29}.get(name) or getattr(socket, f"AF_{name}")
    socket.socket(number, kind).close()


def write(path: str) -> None:
    with open(path, "w"):
        pass
    os.unlink(path)


def unshare() -> str:
    """What a new user namespace is refused with. (Not by ctypes: it needs memory to write and run.)"""
    return subprocess.run(["unshare", "--user", "true"], capture_output=True, text=True, check=False).stderr


def read_credential(name: str) -> str:
    """Its hash: what is printed goes to the journal."""
    path = os.path.join(os.environ["CREDENTIALS_DIRECTORY"], name)
    with open(path, encoding="utf-8") as file:
        return hashlib.sha256(file.read().encode()).hexdigest()


def list_directory(path: str) -> list[str]:
    try:
        return os.listdir(path)
    except OSError:
        return []


def main() -> None:
    asked = json.loads(sys.argv[1])
    with open("/proc/self/status", encoding="utf-8") as file:
        status = dict(line.rstrip("\n").split(":\t", 1) for line in file if ":\t" in line)
    found = {
        "uid": os.getuid(),
        "capabilities": {name: status[name] for name in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb")},
        "no_new_privileges": status["NoNewPrivs"],
        "seccomp": status["Seccomp"],
        "families": {name: try_to(functools.partial(open_family, name)) for name in FAMILIES},
        "writes": {path: try_to(functools.partial(write, path)) for path in asked["paths"]},
        "namespace": unshare(),
        "homes": [name for directory in ("/root", "/home") for name in list_directory(directory)],
        "credential": read_credential(asked["credential"]),
    }
    print(json.dumps({"probe": found}), flush=True)


if __name__ == "__main__":
    main()
