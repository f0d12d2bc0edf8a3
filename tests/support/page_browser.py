"""The fleet's page in a browser: what more than one file of tests does with it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from support.fleet_api import TOKEN
from support.page_samples import make_fleet

from ectools.netboot.api.page.facts import FleetFacts

if TYPE_CHECKING:
    from support.browser import Page
    from support.page_site import PageSite

    from ectools.netboot.api.page.facts import NodeDetail

LIVE = "document.getElementById('live').textContent === 'Live'"


def text_of(page: Page, selector: str) -> str:
    """The text of the first element of a selector."""
    found = page.evaluate(f"document.querySelector({json.dumps(selector)})?.textContent ?? ''")
    return " ".join(str(found).split())


def show_detail(site: PageSite, detail: NodeDetail) -> None:
    """A fleet of which one node has such boots."""
    facts = make_fleet(8, now=detail.now)
    site.show(FleetFacts(nodes=facts.nodes, now=detail.now))
    for boot in reversed(detail.boots):
        site.note(boot)


def sign_in(page: Page, site: PageSite, token: str = TOKEN) -> None:
    """Sign in, and wait for the answer."""
    page.open(f"{site.url}/sign-in")
    page.evaluate("document.querySelector('[name=token]').focus()")
    page.type(token)
    page.press("Enter")
    page.wait_for(
        "location.pathname !== '/sign-in' || document.querySelector('main p').textContent.includes('not the')"
    )
