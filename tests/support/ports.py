"""Which ports of a machine's are reached from somewhere else: past its firewall, whatever it serves."""

from __future__ import annotations

import json
from collections.abc import Sequence

from support.machine import Machine
from support.netboot_lab import run

PORTS = {"udp": (53, 67, 68, 69, 4011, 4012, 8080), "tcp": (22, 69, 80, 4011, 8080, 8081)}
"""The ports that are tried."""

_UNIT = "ports.service"

_FOUND = "/run/ports.json"

# Bound before the unit is active; at its end, it writes which of them somebody came to. To a file: a journal
# is behind what is said to it, and an empty one reads like a closed firewall.
_LISTEN = """
import json, signal, socket, subprocess, sys
KINDS = {"udp": socket.SOCK_DGRAM, "tcp": socket.SOCK_STREAM}
signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])
sockets = []
for name, ports in json.loads(sys.argv[1]).items():
    for port in ports:
        sockets.append((name, port, socket.socket(socket.AF_INET, KINDS[name])))
        sockets[-1][2].setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sockets[-1][2].bind(("0.0.0.0", port))
        if name == "tcp":
            sockets[-1][2].listen()
subprocess.run(["systemd-notify", "--ready"], check=True)
signal.sigwait([signal.SIGTERM])
reached = []
for name, port, each in sockets:
    each.setblocking(False)
    try:
        each.recv(1) if name == "udp" else each.accept()
    except BlockingIOError:
        continue
    reached.append(f"{name} {port}")
with open(sys.argv[2], "w") as found:
    json.dump(reached, found)
"""

# Without a wait: an answered echo request says that what was sent before it has arrived or was dropped.
_KNOCK = """
import json, os, socket, struct, sys
address, tried = sys.argv[1], json.loads(sys.argv[2])
kept = []
for port in tried["udp"]:
    socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(b"x", (address, port))
for port in tried["tcp"]:
    kept.append(socket.socket(socket.AF_INET, socket.SOCK_STREAM))
    kept[-1].setblocking(False)
    kept[-1].connect_ex((address, port))
words = [0x0800, 0, os.getpid() & 0xFFFF, 1]
total = sum(words)
words[1] = ~(total + (total >> 16)) & 0xFFFF
with socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP) as echo:
    echo.settimeout(60)
    echo.sendto(struct.pack(">4H", *words), (address, 0))
    while echo.recvfrom(1500)[0][20] != 0:
        pass
"""


def find_reached(machine: Machine, knock_from: Sequence[str], address: str) -> set[str]:
    """What is reached at ``address``, as ``udp 67``; ``knock_from`` runs a command in that place.

    The machine must have none of the ports in use.
    """
    tried = json.dumps(PORTS)
    machine.run(
        *(
            "systemd-run",
            f"--unit={_UNIT}",
            "--collect",
            "--service-type=notify",
            "--property=NotifyAccess=all",
        ),
        *("python3", "-c", _LISTEN, tried, _FOUND),
    )
    try:
        run([*knock_from, "python3", "-c", _KNOCK, address, tried])
    finally:
        machine.run("systemctl", "stop", _UNIT)
    found = machine.run("cat", _FOUND)
    machine.run("rm", _FOUND)
    return set(json.loads(found))
