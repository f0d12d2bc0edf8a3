"""The forms of the fleet's page in a real browser: what is sent, and what stays while boots change."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest
from support.browser import Page, start_browser
from support.page_browser import LIVE, sign_in, text_of
from support.page_samples import OLD, make_boot, make_fleet
from support.page_site import PageSite

from ectools.netboot.boots.model import BootState, NodeStage

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(scope="module")
def page() -> Iterator[Page]:
    with start_browser() as browser:
        yield browser


@pytest.fixture(scope="module")
def site() -> Iterator[PageSite]:
    served = PageSite()
    yield served
    served.close()


def test_who_is_signed_in_acts_and_sees_it_at_once(page: Page, site: PageSite) -> None:
    site.show(make_fleet(8, now=time.time()))
    sign_in(page, site, "wrong")
    assert "that is not the access token" in text_of(page, "main")
    page.complaints.clear()  # the browser notes the 403
    page.open(f"{site.url}/nodes/nuc-01")
    assert page.evaluate("document.querySelectorAll('main form').length") == 0
    sign_in(page, site)
    page.open(f"{site.url}/nodes/nuc-01")
    page.wait_for(LIVE)
    page.evaluate("document.querySelector('[name=why]').focus()")
    page.type("a new disk")
    page.press("Enter")
    page.wait_for("document.querySelector('dl').textContent.includes('a new disk')")
    page.evaluate("document.querySelector('[name=boot]').value = 'release boot-v2026.02.01'")
    page.click('form[action$="/boot-once"] button')
    page.wait_for("document.querySelector('.planned').textContent.includes('the network, once')")
    assert OLD in text_of(page, ".planned")
    page.click("header form button")
    page.wait_for("document.querySelector('header a.sign') !== null")


def test_what_was_entered_stays_while_boots_change_and_the_focus_is_on_no_other_button(
    page: Page, site: PageSite
) -> None:
    now = time.time()
    site.show(make_fleet(8, now=now))
    sign_in(page, site)
    page.open(f"{site.url}/nodes/nuc-01")
    page.wait_for(LIVE)
    page.evaluate("document.querySelector('[name=boot]').value = 'release boot-v2026.02.01'")
    page.evaluate("document.querySelector('form[action$=\"/boot-once\"] button').focus()")
    site.note(make_boot("nuc-01", BootState.BOOTING, now=now, ago=3, number=950, until=NodeStage.KERNEL))
    page.wait_for("document.querySelector('.standing').textContent.includes('kernel fetched')")
    assert page.evaluate("document.querySelector('[name=boot]').value") == "release boot-v2026.02.01"
    page.evaluate("document.querySelector('[name=boot]').selectedIndex = 0")
    # Another one holds it meanwhile: there is a button more, before the one that has the focus.
    site.run(site.api.fleet.hold("nuc-01", by="bob"))
    page.wait_for("document.querySelector('form[action$=\"/release\"]') !== null")
    assert page.evaluate("document.activeElement.form.getAttribute('action')") == "/nodes/nuc-01/boot-once"
    # A button that is gone gives the focus to none.
    page.evaluate("document.querySelector('form[action$=\"/release\"] button').focus()")
    site.run(site.api.fleet.release("nuc-01", by="bob"))
    page.wait_for("document.querySelector('form[action$=\"/release\"]') === null")
    assert page.evaluate("document.activeElement.localName") == "body"


def test_the_choice_of_a_group_is_sent_by_its_button_alone(page: Page, site: PageSite) -> None:
    site.show(make_fleet(8, now=time.time()))
    page.open(f"{site.url}/")
    page.wait_for(LIVE)
    page.evaluate(
        "(e => { e.value = 'runners'; e.dispatchEvent(new Event('change', {bubbles: true})) })"
        "(document.querySelector('[name=group]'))"
    )
    page.wait_for(LIVE)
    assert page.evaluate("location.search") == ""
    page.click(".filters button")
    page.wait_for("location.search.includes('group=runners')")
