"""The fleet's page in a real browser: of every size, live, without JavaScript, by keyboard."""

from __future__ import annotations

import dataclasses
import re
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from support.browser import Page, start_browser
from support.page_browser import LIVE, show_detail, sign_in, text_of
from support.page_samples import IDS, NEW, OLD, make_boot, make_detail, make_fleet
from support.page_site import PageSite

from ectools.netboot.api.page import render
from ectools.netboot.api.page.facts import FleetFacts, NodeFacts
from ectools.netboot.api.page.text import write_age
from ectools.netboot.boots.model import BootState, NodeReport, NodeStage
from ectools.netboot.rollout.model import RolloutPlan

if TYPE_CHECKING:
    from collections.abc import Iterator

ACCESSIBILITY = (Path(__file__).parents[1] / "support/accessibility.js").read_text()
ROWS = "document.querySelectorAll('tbody tr').length"


@pytest.fixture(scope="module")
def browser() -> Iterator[Page]:
    with start_browser() as page:
        yield page


@pytest.fixture(scope="module")
def site() -> Iterator[PageSite]:
    served = PageSite()
    yield served
    served.close()


@pytest.fixture
def page(browser: Page, site: PageSite) -> Iterator[Page]:
    """A tab that has complained of nothing and asked nobody else when the test is over."""
    browser.open("about:blank")
    browser.complaints.clear()
    browser.requests.clear()
    browser.set_size(1280, 900)
    browser.set_scheme("light")
    yield browser
    browser.evaluate("0")
    assert browser.complaints == []
    assert [url for url in browser.requests if not url.startswith((site.url, "about:", "data:"))] == []


def row_of(page: Page, name: str) -> str:
    return text_of(page, f'[data-part="node {name}"]')


@pytest.mark.parametrize("count", [0, 1, 40, 1000])
def test_fleets_of_every_size(page: Page, site: PageSite, count: int) -> None:
    site.show(make_fleet(count, unknown=2 if count else 0, now=time.time()))
    for width in (375, 1280):
        for scheme in ("light", "dark"):
            page.set_size(width, 900)
            page.set_scheme(scheme)
            page.open(f"{site.url}/")
            page.wait_for(LIVE)
            assert page.evaluate(ROWS) == count
            assert page.evaluate("document.documentElement.scrollWidth") == width
            red, *_ = page.evaluate(
                "getComputedStyle(document.body).backgroundColor.match(/\\d+/g).map(Number)"
            )
            assert (red > 128) == (scheme == "light")
    assert page.evaluate("document.querySelectorAll('.machines li').length") == (2 if count else 0)


def test_rows_change_while_boots_do(page: Page, site: PageSite) -> None:
    site.show(make_fleet(40, now=time.time()))
    page.open(f"{site.url}/")
    page.wait_for(LIVE)
    page.evaluate("window.kept = document.querySelector('[data-part=\"node nuc-02\"]')")
    page.evaluate("document.querySelector('[data-part=\"node nuc-19\"] a').focus()")
    assert "silent" in row_of(page, "nuc-19")
    began = time.time()
    boot = make_boot("nuc-19", BootState.BOOTING, now=began, ago=0, number=900, until=NodeStage.SCRIPT)
    for stage, said in (
        (NodeStage.SCRIPT, "script fetched"),
        (NodeStage.KERNEL, "kernel fetched"),
        (NodeStage.INITRD, "initrd fetched"),
        (NodeStage.RUNNING, "kernel runs"),
    ):
        boot = dataclasses.replace(boot, stages={**boot.stages, stage: time.time()})
        site.note(boot)
        page.wait_for(f"document.querySelector('[data-part=\"node nuc-19\"]').textContent.includes({said!r})")
        assert "booting" in row_of(page, "nuc-19")
    assert text_of(page, "h1") == "40 nodes: 30 healthy, 5 booting, 2 unhealthy, 2 failed, 1 silent"
    assert text_of(page, "#announce") == text_of(page, "h1")
    failed = dataclasses.replace(
        boot, state=BootState.FAILED, ended=time.time(), why="no report within 600 s"
    )
    site.note(failed)
    page.wait_for("document.title.startsWith('5 of 40 failed')")
    assert row_of(page, "nuc-19").startswith("nuc-19 failed")
    # What has not changed is what it was, and who was there still is.
    assert page.evaluate("window.kept === document.querySelector('[data-part=\"node nuc-02\"]')")
    assert page.evaluate("document.activeElement.textContent") == "nuc-19"


def test_a_filter_holds_while_boots_change(page: Page, site: PageSite) -> None:
    now = time.time()
    site.show(make_fleet(40, now=now))
    page.open(f"{site.url}/?state=failed")
    page.wait_for(LIVE)
    assert page.evaluate(ROWS) == 2
    site.note(make_boot("nuc-08", now=now, ago=40, number=901))
    page.wait_for(f"{ROWS} === 1")
    assert text_of(page, "tbody th") == "nuc-28"
    site.note(make_boot("nuc-28", now=now, ago=40, number=902))
    page.wait_for("document.querySelector('.empty') !== null")
    site.note(make_boot("nuc-05", BootState.FAILED, now=now, ago=700, number=903, until=NodeStage.KERNEL))
    page.wait_for(f"{ROWS} === 1")
    assert text_of(page, "tbody th") == "nuc-05"


def test_a_burst_is_a_few_requests(page: Page, site: PageSite) -> None:
    now = time.time()
    facts = make_fleet(400, now=now)
    site.show(facts)
    page.open(f"{site.url}/")
    page.wait_for(LIVE)
    page.wait_for("document.querySelectorAll('.state.failed').length > 1")
    before = len(page.requests)
    boots = [
        make_boot(node.subject, BootState.FAILED, now=now, ago=700, number=1000 + number)
        for number, node in enumerate(facts.nodes)
    ]
    site.do(lambda: [site.api.boots.note(boot) for boot in boots])
    page.wait_for("document.querySelector('h1').textContent === '400 nodes: 400 failed'")
    page.wait_for("document.querySelectorAll('tbody .state.failed').length === 400")
    assert len(page.requests) - before < 12


ROLLOUT = "document.querySelector('[data-part=\"rollout runners\"]')"


def start_rollout(site: PageSite, count: int) -> None:
    """A rollout of the release of before, to ``count`` nodes of a fleet without a boot."""
    macs = [f"mac 02:00:00:01:{number // 256:02x}:{number % 256:02x}" for number in range(count)]
    nodes = [
        NodeFacts(subject=f"n{number:04d}", group="runners", known_by=(mac,))
        for number, mac in enumerate(macs)
    ]
    site.show(FleetFacts(nodes=nodes, now=time.time()))
    plan = RolloutPlan(
        id="r",
        group="runners",
        target=IDS[OLD],
        before=IDS[NEW],
        base=NEW,
        waves=(50.0, 100.0),
        max_failures=0,
        at=site.api.now,
        by="alice",
    )
    site.run(site.api.rollouts.start(plan))


def report(site: PageSite, name: str, state: BootState, why: str | None = None) -> None:
    """A node has taken the release, and has said how it is."""
    site.run(site.api.rollouts.offer("runners", name))
    stages = {NodeStage.SCRIPT: site.api.now, NodeStage.UP: site.api.now + 1}
    boot = dataclasses.replace(
        make_boot(name, state, tag=OLD, why=why), stages=stages, ended=site.api.now + 1, id=f"{name}-1"
    )
    site.note(boot)
    site.do(lambda: site.api.rollouts.see(boot))
    site.run(site.api.rollouts.turn())


def test_a_rollout_is_followed_wave_by_wave_until_it_is_stopped(page: Page, site: PageSite) -> None:
    start_rollout(site, 4)
    page.open(f"{site.url}/")
    page.wait_for(LIVE)
    page.wait_for(f"{ROLLOUT} !== null")
    assert text_of(page, ".rollout h2") == f"{OLD} to runners running"
    assert text_of(page, ".waves .open") == "canary 1"
    assert page.evaluate("document.querySelectorAll('.rollout form').length") == 0
    report(site, "n0000", BootState.HEALTHY)
    page.wait_for("document.querySelector('.waves .open')?.textContent === 'wave 1 2'")
    assert text_of(page, ".rollout dd a") == "n0000"
    why = "failed: every-channel-node.service"
    report(site, "n0001", BootState.UNHEALTHY, why)
    page.wait_for(f"{ROLLOUT}.classList.contains('failed')")
    assert text_of(page, ".rollout h2") == f"{OLD} to runners stopped"
    assert text_of(page, ".rollout .why") == f"1 node has failed (n0001: {why})"
    assert page.evaluate("document.querySelector('.waves .open')") is None


def test_a_rollout_appears_on_a_page_that_is_open(page: Page, site: PageSite) -> None:
    start_rollout(site, 2)
    site.run(site.api.store.delete("rollouts/runners"))
    site.run(site.api.rollouts.offer("runners", "n0000"))  # which notices
    page.open(f"{site.url}/")
    page.wait_for(LIVE)
    assert page.evaluate(ROLLOUT) is None
    plan = RolloutPlan(id="r2", group="runners", target=IDS[OLD], before=IDS[NEW], base=NEW)
    site.run(site.api.rollouts.start(plan))
    page.wait_for(f"{ROLLOUT} !== null")


def test_who_is_signed_in_pauses_and_ends_a_rollout_without_the_script(site: PageSite) -> None:
    start_rollout(site, 4)
    with start_browser() as page:
        page.disable_scripts()
        sign_in(page, site)
        page.open(f"{site.url}/")
        for name, standing in (("pause", "paused"), ("resume", "running"), ("abort", "aborted")):
            page.click(f'.rollout form[action$="/{name}"] button')
            page.wait_for(f"document.querySelector('.rollout h2 .state')?.textContent === '{standing}'")
        assert page.evaluate("document.querySelectorAll('.rollout form').length") == 0
        assert "the access token, from 127.0.0.1 has ended it" in text_of(page, ".rollout .why")
        assert page.complaints == []


def test_a_rollout_of_a_thousand_fits_a_phone(page: Page, site: PageSite) -> None:
    start_rollout(site, 1000)
    for number in range(3):
        report(site, f"n{number:04d}", BootState.HEALTHY)
    for width in (375, 1280):
        for scheme in ("light", "dark"):
            page.set_size(width, 900)
            page.set_scheme(scheme)
            page.open(f"{site.url}/")
            page.wait_for(LIVE)
            assert page.evaluate("document.documentElement.scrollWidth") == width
            assert page.evaluate("document.querySelectorAll('.rollout dd a').length") <= 4 * 12
            assert page.evaluate(ACCESSIBILITY) == {"nameless": [], "faint": []}


def test_what_is_not_staged_here_is_told_and_fits_a_phone(page: Page, site: PageSite) -> None:
    start_rollout(site, 4)
    site.run(site.api.rollouts.abort("runners", by=None))
    plan = RolloutPlan(id="r2", group="runners", target="x" * 100, before=IDS[OLD], base=NEW)
    site.run(site.api.rollouts.start(plan))
    page.set_size(375, 900)
    page.open(f"{site.url}/")
    page.wait_for(LIVE)
    assert "is not staged on this host: nodes of runners that ask here" in text_of(page, ".problem")
    assert page.evaluate("document.documentElement.scrollWidth") == 375
    assert page.evaluate(ACCESSIBILITY) == {"nameless": [], "faint": []}


def test_a_node_with_its_boots_is_live_and_what_is_open_stays_open(page: Page, site: PageSite) -> None:
    now = time.time()
    show_detail(site, make_detail(now))
    page.open(f"{site.url}/nodes/nuc-04")
    page.wait_for(LIVE)
    assert page.evaluate("document.querySelectorAll('.boot').length") == 5
    assert page.evaluate("document.querySelectorAll('svg.strip rect').length") > 20
    assert "every-channel-node.service" in text_of(page, ".units")
    assert "EAI_AGAIN" in text_of(page, "pre")
    page.evaluate(
        "window.kept = document.querySelectorAll('.boot')[1]; window.kept.querySelector('summary').click()"
    )
    boot = make_boot("nuc-04", BootState.BOOTING, now=now, ago=3, number=950, until=NodeStage.KERNEL)
    site.note(boot)
    page.wait_for("document.querySelectorAll('.boot').length === 6")
    assert text_of(page, ".boot h3").startswith("booting")
    site.note(
        dataclasses.replace(
            boot, state=BootState.HEALTHY, ended=now + 30, stages={**boot.stages, NodeStage.UP: now + 30}
        )
    )
    page.wait_for("document.querySelector('.boot').classList.contains('healthy')")
    assert text_of(page, ".standing").startswith("healthy")
    assert page.evaluate("window.kept === document.querySelectorAll('.boot')[2]")
    assert page.evaluate("window.kept.querySelector('details').open")


def test_a_lost_connection_is_said_and_found_again(page: Page, site: PageSite) -> None:
    now = time.time()
    site.show(make_fleet(8, now=now))
    page.open(f"{site.url}/")
    page.wait_for(LIVE)
    site.close_listener()
    page.wait_for("document.getElementById('live').className === 'lost'")
    assert text_of(page, "#live") == "Not live, trying again"
    site.api.boots.note(make_boot("nuc-01", BootState.FAILED, now=now, ago=700, number=960))
    site.open()
    page.wait_for(LIVE)
    page.wait_for("document.querySelector('[data-part=\"node nuc-01\"]').classList.contains('failed')")
    # The browser says by itself that nobody answered.
    page.complaints[:] = [each for each in page.complaints if "net::ERR_" not in each]


def test_it_is_all_there_without_the_script(site: PageSite) -> None:
    site.show(make_fleet(40, unknown=1, now=time.time()))
    with start_browser() as page:
        page.disable_scripts()
        page.open(f"{site.url}/?text=nuc-0&order=name")
        names = "[...document.querySelectorAll('tbody th')].map(each => each.textContent)"
        assert page.evaluate(names) == [f"nuc-0{number}" for number in range(1, 10)]
        assert page.evaluate("document.getElementById('live').offsetParent") is None
        page.click('.tiles a[href*="state=failed"]')
        page.wait_for("location.search.includes('state=failed')")
        page.wait_for(f"{names}.join() === 'nuc-08'")
        page.evaluate("document.querySelector('[name=text]').value = 'initrd'")
        page.click(".filters button")
        page.wait_for("location.search.includes('text=initrd')")
        page.wait_for(f"{names}.join() === 'nuc-08,nuc-28'")
        page.click("tbody a")
        page.wait_for("location.pathname === '/nodes/nuc-08'")
        page.wait_for("document.querySelector('h1').textContent === 'nuc-08'")
        sign_in(page, site)
        page.open(f"{site.url}/nodes/nuc-08")
        page.click('form[action$="/hold"] button')
        page.wait_for("document.querySelector('form[action$=\"/release\"]') !== null")
        assert page.evaluate("location.pathname") == "/nodes/nuc-08"
        page.click('form[action$="/release"] button')
        page.wait_for("document.querySelector('form[action$=\"/release\"]') === null")
        assert page.complaints == []


def test_the_keyboard_reaches_all_and_shows_where_it_is(page: Page, site: PageSite) -> None:
    site.show(make_fleet(3, now=time.time()))
    page.open(f"{site.url}/")
    page.wait_for(LIVE)
    seen = []
    for _ in range(24):
        page.press("Tab")
        where = page.evaluate(
            "(e => ({name: e.textContent.trim() || e.name, outline: getComputedStyle(e).outlineStyle,"
            " seen: e.getBoundingClientRect().left >= 0, tag: e.tagName}))(document.activeElement)"
        )
        if where["tag"] == "BODY":
            break
        assert where["outline"] != "none"
        assert where["seen"]
        seen.append(" ".join(where["name"].split()))
    assert seen[0] == "Skip to the content"
    for name in ("every.channel fleet of boot.example", "text", "Filter", "State", "nuc-01", "nuc-03"):
        assert name in seen, (name, seen)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_everything_has_a_name_and_stands_out(page: Page, site: PageSite, scheme: str) -> None:
    now = time.time()
    site.show(make_fleet(40, unknown=2, now=now))
    page.set_scheme(scheme)
    sign_in(page, site)
    for boot in reversed(make_detail(now).boots):
        site.note(boot)
    for path in (
        "/",
        "/?state=failed&order=since",
        "/?text=zzz",
        "/nodes/nuc-04",
        "/nodes/nuc-19",
        "/sign-in",
    ):
        page.open(f"{site.url}{path}")
        page.evaluate("document.querySelectorAll('details').forEach(each => each.open = true)")
        assert page.evaluate(ACCESSIBILITY) == {"nameless": [], "faint": []}, path
        landmarks = page.evaluate("['header', 'main', 'h1'].map(e => document.querySelectorAll(e).length)")
        assert landmarks == [1, 1, 1]
        tree = page.call("Accessibility.getFullAXTree")["nodes"]
        roles = [each["role"]["value"] for each in tree if not each["ignored"]]
        if path == "/":
            assert roles.count("table") == 1
            assert roles.count("columnheader") == 6
            assert roles.count("rowheader") == 40
            assert roles.count("row") == 41
            assert roles.count("cell") == 200
            assert "search" in roles
            assert "banner" in roles
    page.open(f"{site.url}/")
    page.click("header form button")
    page.wait_for("document.querySelector('header a.sign') !== null")


def test_ages_are_written_by_the_script_as_by_the_server(page: Page, site: PageSite) -> None:
    page.open(f"{site.url}/")
    source = re.search(r"function writeAge\(.*?\n  }", render.load_asset("page.js").decode(), re.DOTALL)
    assert source is not None
    for seconds in (-5, 0, 59.9, 60, 3599.9, 3600, 172_799, 172_800, 1e9):
        assert page.evaluate(f"(() => {{ {source[0]}; return writeAge({seconds}); }})()") == write_age(
            seconds
        )


HOSTILE = (
    "</td></pre></title><img src=x onerror=alert(1)><script>alert(2)</script>\x1b[31m\u202e\"' {{ 7*7 }}"
)


def test_what_a_node_writes_is_text(page: Page, site: PageSite) -> None:
    now = time.time()
    show_detail(site, make_detail(now))
    report = NodeReport(
        release=HOSTILE, system=HOSTILE, healthy=False, failed=(HOSTILE,), journal=f"{HOSTILE}\n{HOSTILE}"
    )
    boot = make_boot("nuc-04", BootState.UNHEALTHY, now=now, ago=90, number=970, why=HOSTILE, report=report)
    site.note(dataclasses.replace(boot, tag=HOSTILE, system=HOSTILE, client=HOSTILE))
    other = make_boot("", now=now, ago=90, number=971, machine=f"serial {HOSTILE}", why=HOSTILE)
    site.note(dataclasses.replace(other, id="other"))
    for path in ("/", "/nodes/nuc-04"):
        page.open(f"{site.url}{path}")
        page.wait_for(LIVE)
        assert "<img src=x onerror=alert(1)>" in text_of(page, "main")
        assert page.evaluate("document.querySelectorAll('img, main script').length") == 0
        assert page.evaluate("document.querySelectorAll('script').length") == 1
    page.evaluate("document.querySelector('nav a').click()")


def test_paper_has_the_rows_and_nothing_to_press(page: Page, site: PageSite) -> None:
    site.show(make_fleet(40, now=time.time()))
    page.open(f"{site.url}/")
    page.call("Emulation.setEmulatedMedia", media="print")
    for selector in ("header", ".filters", ".tiles"):
        assert not page.evaluate(f"document.querySelector({selector!r}).checkVisibility()")
    assert page.evaluate("document.querySelector('tbody tr').checkVisibility()")
    page.call("Emulation.setEmulatedMedia", media="")


def test_who_wants_no_motion_has_none(page: Page, site: PageSite) -> None:
    site.show(make_fleet(3, now=time.time()))
    page.call("Emulation.setEmulatedMedia", features=[{"name": "prefers-reduced-motion", "value": "reduce"}])
    page.open(f"{site.url}/")
    page.wait_for(LIVE)
    site.note(make_boot("nuc-02", now=time.time(), ago=40, number=980, tag=NEW))
    page.wait_for("document.querySelector('tr.changed') !== null")
    assert page.evaluate("document.getAnimations().length") == 0


PICTURES = Path(__file__).parents[2] / "docs" / "images"


def test_pictures_of_the_guide(page: Page, site: PageSite, request: pytest.FixtureRequest) -> None:
    """Taken anew by ``--update-pictures``; else what the guide shows is there, and as wide as it says."""
    now = time.time()
    site.show(make_fleet(40, unknown=1, now=now))
    for boot in reversed(make_detail(now).boots):
        site.note(boot)
    for name, path, scheme, width, height in (
        ("fleet", "/", "light", 1100, 760),
        ("fleet-node", "/nodes/nuc-04", "light", 1100, 1010),
        ("fleet-phone", "/?order=since", "dark", 375, 760),
    ):
        page.set_size(width, height)
        page.set_scheme(scheme)
        page.open(f"{site.url}{path}")
        page.wait_for(LIVE)
        file = PICTURES / f"{name}.png"
        if request.config.getoption("--update-pictures"):
            page.screenshot(file)
        header = file.read_bytes()[:24]
        assert (header[:8], int.from_bytes(header[16:20])) == (b"\x89PNG\r\n\x1a\n", width)
