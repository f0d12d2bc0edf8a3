"""The fleet's page in Chromium: from the navigation to the first paint, beside the same bytes as files."""

from __future__ import annotations

import contextlib
import http.server
import random
import subprocess
import sys
import threading
import time
import urllib.request
from pathlib import Path
from typing import TYPE_CHECKING

REPOSITORY = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(REPOSITORY), str(REPOSITORY / "tests")]

if TYPE_CHECKING:
    from collections.abc import Iterator

# Milliseconds since the navigation began (W3C Navigation Timing, Paint Timing).
TIMES = """(async () => {
  const find = () => performance.getEntriesByName("first-contentful-paint");
  while (!find().length) await new Promise(requestAnimationFrame);
  const [navigation] = performance.getEntriesByType("navigation");
  return {
    "answer whole, ms": navigation.responseEnd,
    "first paint, ms": find()[0].startTime,
    "loaded, ms": navigation.loadEventEnd,
  };
})()"""


def measure_page(nodes: int, visits: int = 9) -> dict[str, float]:
    """The medians of so many visits, each of a browser that has the style sheet and the script already."""
    from support.browser import start_browser

    times: dict[str, list[dict[str, float]]] = {"page": [], "same bytes": []}
    with serve(nodes) as urls, start_browser() as browser:
        browser.set_size(1280, 900)
        for url in urls.values():
            browser.open(url)
        for _ in range(visits):
            for name in random.sample([*urls], len(urls)):
                browser.open("about:blank")
                browser.open(urls[name])
                times[name].append(browser.evaluate(TIMES))
        rows = browser.evaluate("document.querySelectorAll('tbody tr').length")
        if rows != nodes:
            sys.exit(f"the page shows {rows} rows of {nodes}")
        size = len(urllib.request.urlopen(urls["page"], timeout=60).read())
    found = {
        f"{name}: {key}": sorted(each[key] for each in visited)[visits // 2]
        for name, visited in times.items()
        for key in visited[0]
    }
    found["first paint, / same bytes"] = found["page: first paint, ms"] / found["same bytes: first paint, ms"]
    return {**found, "KB": size / 1000}


@contextlib.contextmanager
def serve(nodes: int) -> Iterator[dict[str, str]]:
    """The page, and the same bytes, by a process of their own; it ends with its input."""
    argv = [sys.executable, __file__, str(nodes)]
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdin
        assert process.stdout
        try:
            page, same = process.stdout.readline().split()
            yield {"page": page, "same bytes": same}
        finally:
            process.stdin.close()


def main() -> None:
    from support.page_samples import make_fleet
    from support.page_site import PageSite

    site = PageSite()
    site.show(make_fleet(int(sys.argv[1]), unknown=3, now=time.time()))
    kept: dict[str, tuple[str, bytes]] = {}

    class Same(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            if self.path.startswith("/api/"):
                self.send_error(404)
                return
            if self.path not in kept:
                with urllib.request.urlopen(f"{site.url}{self.path}", timeout=60) as answer:
                    kept[self.path] = answer.headers["Content-Type"], answer.read()
            kind, body = kept[self.path]
            self.send_response(200)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(body)))
            if self.path.startswith("/assets/"):
                self.send_header("Cache-Control", "max-age=31536000, immutable")
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Same) as server:
        print(f"{site.url}/ http://127.0.0.1:{server.server_port}/", flush=True)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        sys.stdin.read()
        server.shutdown()
    site.close()


if __name__ == "__main__":
    main()
