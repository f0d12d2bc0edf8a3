"""Which disk an installation takes, of those that are there: the script's function, in bash."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / "nix/modules/install-disk.sh"
_RUN = """
set -euo pipefail
declare -A plan=()
give_up() { echo "gave up: $*"; exit 1; }
. "$1"
if [ -n "$3" ]; then plan[${3%=*}]=${3#*=}; fi
choose_disk "$2"
echo "disk=$disk bytes=$disk_bytes"
"""
ONE = "/dev/sda 8589934592 S1 ata-one"


@pytest.mark.parametrize(
    ("lines", "plan", "said"),
    [
        (ONE, "", "disk=/dev/sda bytes=8589934592"),
        ("", "", "gave up: no disk that could be it: there is none"),
        ("", "disk-min-bytes=1073741824", "gave up: no disk that could be it: there is none"),
        ("", "disk-id=ata-one", "gave up: no disk that could be it: there is none"),
        (
            ONE,
            "disk-min-bytes=17179869184",
            "gave up: no disk has 16 GiB: there are /dev/sda (8 GiB, ata-one)",
        ),
    ],
)
def test_the_disk_that_is_found(lines: str, plan: str, said: str) -> None:
    done = subprocess.run(
        ["bash", "-c", _RUN, "bash", SCRIPT, lines, plan], capture_output=True, text=True, check=False
    )
    assert (done.stdout, done.stderr) == (f"{said}\n", "")
