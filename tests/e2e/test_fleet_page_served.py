"""The page of a real boot server in a real browser, while a node boots, fails, comes up, and is held."""

from __future__ import annotations

import json
import re
import signal
import urllib.request
from typing import TYPE_CHECKING
from urllib.parse import urlencode

import pytest
from support.boot_service import Service, boot_service, require_boot_services, stage, write_fleet_settings
from support.browser import Page, start_browser

if TYPE_CHECKING:
    from pathlib import Path

TOKEN = "t0ken-of-who-may-change"
MACHINE = "/netboot.ipxe?mac=02:00:00:00:00:07&arch=x86_64"
LIVE = "document.getElementById('live').textContent === 'Live'"
JOURNAL = "<b>ec-node</b>: error: relay.example.org: no address\n"


@pytest.fixture(autouse=True)
def _needs() -> None:
    require_boot_services()


@pytest.fixture
def settings_file(tmp_path: Path) -> Path:
    nodes = {
        f"nuc-{number:02d}": {"group": "runners", "match": {"mac": [f"02:00:00:00:00:{number:02x}"]}}
        for number in range(7, 10)
    }
    return write_fleet_settings(tmp_path, {"groups": {"runners": {}}, "nodes": nodes}, token=TOKEN)


class Node:
    """A node that boots, as its first stage and its system ask the server."""

    def __init__(self, service: Service) -> None:
        self.service = service
        script = service.get(MACHINE).body.decode()
        report = re.search(r"every_channel\.report=http://[^/]+(/report\?boot=\S+)", script)
        boot = re.search(r"set ec-query (\?boot=\S+)", script)
        assert report is not None
        assert boot is not None
        self.path, self.query = report[1], boot[1]

    def fetch(self, release: str, name: str) -> None:
        assert self.service.get(f"/releases/{release}/{name}{self.query}").status == 200

    def say(self, **fields: object) -> None:
        url = f"http://{self.service.address}:{self.service.port}{self.path}"
        body = urlencode(fields, doseq=True).encode()
        with urllib.request.urlopen(url, body, timeout=60) as answer:
            assert answer.status == 200


def find_url(settings_file: Path) -> str:
    return f"http://{json.loads(settings_file.read_text())['fleet']['listen']}"


def wait_for_row(page: Page, *words: str) -> None:
    for each in words:
        page.wait_for(
            f"document.querySelector('[data-part=\"node nuc-07\"]').textContent.includes({json.dumps(each)})"
        )


def test_a_boot_is_seen_as_it_happens(settings_file: Path, tmp_path: Path) -> None:
    release = stage(tmp_path / "state", {"bzImage": b"kernel 1", "initrd": b"initrd 1"}).id
    url = find_url(settings_file)
    with boot_service(settings_file) as service, start_browser() as page:
        service.wait_for_event("the status listener is there")
        page.set_size(1280, 900)
        page.open(f"{url}/")
        page.wait_for(LIVE)
        wait_for_row(page, "silent", "has not asked yet")
        node = Node(service)
        wait_for_row(page, "booting", "script fetched")
        node.fetch(release, "bzImage")
        wait_for_row(page, "kernel fetched")
        node.fetch(release, "initrd")
        wait_for_row(page, "initrd fetched")
        node.say(stage="running")
        wait_for_row(page, "kernel runs")
        node.say(stage="up", release=release, healthy="no", failed="ec-node.service", journal=JOURNAL)
        wait_for_row(page, "unhealthy", "failed: ec-node.service")
        page.wait_for("document.title.startsWith('1 of 3 failed')")
        stranger = service.get(MACHINE.replace(":07&", ":99&"))
        assert stranger.status == 200
        page.wait_for(
            "document.querySelector('.machines code')?.textContent.includes('--mac 02:00:00:00:00:99')"
        )
        # The node's own page, and then it recovers.
        page.click('[data-part="node nuc-07"] a')
        page.wait_for(f"location.pathname === '/nodes/nuc-07' && {LIVE}")
        assert page.evaluate("document.querySelector('pre').textContent").strip() == JOURNAL.strip()
        assert page.evaluate("document.querySelectorAll('svg.strip rect').length") >= 4
        node.say(stage="up", release=release, healthy="yes")
        page.wait_for("document.querySelector('.standing .state').textContent === 'healthy'")
        page.open(f"{url}/")
        page.wait_for(LIVE)
        # Killed: nobody is deceived; and back, it is as it was.
        service.process.send_signal(signal.SIGKILL)
        service.process.wait()
        page.wait_for("document.getElementById('live').className === 'lost'")
        with boot_service(settings_file) as again:
            page.wait_for(LIVE)
            wait_for_row(page, "healthy")
            page.open(f"{url}/sign-in")
            page.evaluate("document.querySelector('[name=token]').focus()")
            page.type(TOKEN)
            page.press("Enter")
            page.wait_for("document.querySelector('header form button') !== null")
            page.open(f"{url}/nodes/nuc-07")
            page.evaluate("document.querySelector('[name=why]').focus()")
            page.type("a new disk")
            page.press("Enter")
            page.wait_for("document.querySelector('form[action$=\"/release\"]') !== null")
            assert "is held" in again.get(MACHINE).body.decode()
            page.click('form[action$="/release"] button')
            page.wait_for("document.querySelector('form[action$=\"/release\"]') === null")
            assert f"/releases/{release}/" in again.get(MACHINE).body.decode()
            assert [each for each in page.requests if not each.startswith((url, "about:", "data:"))] == []
            assert [each for each in page.complaints if "net::ERR_" not in each] == []
