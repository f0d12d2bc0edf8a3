"""How long a browser takes until it paints a page: ``page.py COUNT URL…``, with tests/ on PYTHONPATH.

Each time in a browser of its own, in turn; prints one JSON object, URL → the milliseconds from the beginning
of the navigation to the first contentful paint (https://www.w3.org/TR/paint-timing/).
"""

from __future__ import annotations

import json
import os
import sys

from support.browser import start_browser

PAINT = "performance.getEntriesByName('first-contentful-paint')[0]?.startTime"
ROWS = "document.querySelectorAll('tr').length"


def measure(url: str) -> dict[str, float]:
    with start_browser() as page:
        page.open(url)
        page.wait_for(f"{PAINT} !== undefined")
        return {"ms": page.evaluate(PAINT), "rows": page.evaluate(ROWS)}


def main() -> None:
    # Under SCHED_FIFO (sched(7)) and on one processor a browser waits for itself for ever.
    os.sched_setscheduler(0, os.SCHED_OTHER, os.sched_param(0))
    count, *urls = sys.argv[1:]
    found: dict[str, list[dict[str, float]]] = {url: [] for url in urls}
    for _ in range(int(count)):
        for url in urls:
            found[url].append(measure(url))
    print(json.dumps(found))


if __name__ == "__main__":
    main()
