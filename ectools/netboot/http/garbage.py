"""Python's cyclic garbage collection, kept from holding up a server that has many connections."""

from __future__ import annotations

import gc

# Container objects made since the last collection; then how many of each generation make the next one due.
# A connection's own are freed when it ends, without any collection: cycles come from exceptions, mostly.
_THRESHOLDS = (2_000, 20, 50)


def settle_memory() -> None:
    """Exempt all that exists now from collections, and collect less often; for a server that is ready.

    A full collection walks through every object, and the loop stands still for it: beside a thousand
    connections those of the program and its libraries are the most (bench/crowd shows it in the p99).
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(*_THRESHOLDS)
