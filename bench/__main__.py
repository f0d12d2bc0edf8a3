"""``./dev bench [NAME…]``: the benchmarks, one after the other; each prints ratios against a named peer."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

DIRECTORY = Path(__file__).parent


def main() -> int:
    """Run the named benchmarks, or all; 1 where one failed, 2 where there is none of a name."""
    known = sorted(run.parent.name for run in DIRECTORY.glob("*/run"))
    wanted = sys.argv[1:] or known
    if unknown := [name for name in wanted if name not in known]:
        print(f"bench: no benchmark {unknown[0]!r}; there are: {', '.join(known)}", file=sys.stderr)
        return 2
    failed = False
    for name in wanted:
        print(f"== {name} ==", flush=True)
        failed |= subprocess.run([sys.executable, DIRECTORY / name / "run"], check=False).returncode != 0
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
