"""``--gbit``: a benchmark behind a link that carries so much; loopback carries as much as it is given."""

from __future__ import annotations

import os
import sys
from typing import NoReturn

_LINK = "BENCH_LINK"
"""The environment's word that the link is there."""


def go_behind_link(gbit: int | None) -> None:
    """Start this program again, as root, in a network namespace whose loopback carries so many Gbit/s.

    Does nothing where that is None, or where the program is in there already.
    """
    if gbit is not None and _LINK not in os.environ:
        _restart(gbit)


def _restart(gbit: int) -> NoReturn:
    if os.geteuid() != 0:
        sys.exit("--gbit takes root: it makes a network namespace")
    shape = f"tc qdisc add dev lo root tbf rate {gbit}gbit burst 10mb latency 50ms"
    argv = ["unshare", "--net", "sh", "-ec", f'ip link set lo up; {shape}; exec "$@"', "sh"]
    os.execvpe(argv[0], [*argv, sys.executable, *sys.argv], {**os.environ, _LINK: str(gbit)})
