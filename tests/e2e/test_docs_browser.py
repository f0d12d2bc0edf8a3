"""The HTML pages in a real browser: found, followed, read without the script, and quiet."""

from __future__ import annotations

import functools
import http.server
import json
import threading
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urldefrag

import pytest
from support.browser import Page, start_browser
from support.sample_options import make_schema, write_redirects

from ectools.docs import DocFormat, write_pages
from ectools.docs.reference import build_reference
from ectools.docs.site import Site
from ectools.docs.writing import write_directory

PORT = "opt-services.demo.port"


class Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Pages by name, as of all of NixOS: more than one, and one of them long."""
    root = tmp_path_factory.mktemp("docs")
    option = make_schema()["properties"]["port"]
    disk = {
        f"disk{number}": {**option, "description": f"Size of the disk number {number}."}
        for number in range(600)
    }
    disk["compression"] = {**option, "description": "How images are squeezed by Zstandard."}
    disk["address"] = {**option, "default": "198.51.100.7/24", "examples": ["/srv/Big Data"]}
    demo = {"type": "object", "properties": make_schema()["properties"]}
    schema = {
        "x-nix-path": [],
        "$defs": make_schema()["$defs"],
        "properties": {
            "services": {"type": "object", "properties": {"demo": demo}},
            "boot": {"type": "object", "properties": {"deep": {"type": "object", "properties": disk}}},
        },
    }
    (root / "all.schema.json").write_text(json.dumps(schema))
    reference = build_reference(
        [str(root / "all.schema.json")],
        redirects=write_redirects(root, {"boot.old": "services.demo.port"}),
        site=Site(guides=(write_guide(root),)),
    )
    write_directory(root / "html", write_pages(reference, DocFormat.HTML))
    return root / "html"


def write_guide(root: Path) -> Path:
    """A page of Markdown with all that may be too wide."""
    (root / "wide.svg").write_text('<svg xmlns="http://www.w3.org/2000/svg" width="2000" height="9"/>')
    text = "# A guide\n\n![wide](wide.svg)\n\n## Below\n\n| " + " | ".join(["column"] * 20)
    text += f" |\n{'|---' * 20}|\n\n    {'code ' * 60}\n\n`{'x' * 300}` [down](#below)\n"
    (root / "guide.md").write_text(text)
    return root / "guide.md"


@pytest.fixture(scope="module")
def address(directory: Path) -> Iterator[str]:
    handler = functools.partial(Quiet, directory=str(directory))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


@pytest.fixture(scope="module")
def browser() -> Iterator[Page]:
    with start_browser() as page:
        yield page


@pytest.fixture
def page(browser: Page, address: str) -> Iterator[Page]:
    """A tab that has complained of nothing and asked nobody else when the test is over."""
    browser.complaints.clear()
    browser.requests.clear()
    browser.set_size(1280, 900)
    yield browser
    browser.evaluate("0")
    assert browser.complaints == []
    assert [url for url in browser.requests if not url.startswith((address, "file:///", "data:,"))] == []


def search(page: Page, text: str) -> list[str]:
    """The names found, after typing from nowhere but the page itself."""
    page.evaluate("document.activeElement.blur()")
    page.press("/")
    page.wait_for("'ready' in document.querySelector('form').dataset")
    page.type(text)
    return page.evaluate("[...document.querySelectorAll('#results code')].map(code => code.textContent)")


@pytest.mark.parametrize(
    ("text", "first"),
    [
        ("services.demo.port", "services.demo.port"),
        ("demo port", "services.demo.port"),
        ("PORT", "services.demo.port"),
        ("squeezed", "boot.deep.compression"),
        ("zstandard images", "boot.deep.compression"),
        ("comprssion", "boot.deep.compression"),
        ("ocmpression", "boot.deep.compression"),
        ("compresion images", "boot.deep.compression"),
        ("squeesed", "boot.deep.compression"),
        ("serivces.demo.prot", "services.demo.port"),
        ("disk599", "boot.deep.disk599"),
        ("198.51.100", "boot.deep.address"),
        ("/srv/big", "boot.deep.address"),
        ("address 100.7/24", "boot.deep.address"),
    ],
)
def test_search_finds(page: Page, address: str, text: str, first: str) -> None:
    page.open(f"{address}/index.html")
    assert search(page, text)[0] == first


def test_search_finds_nothing_where_there_is_nothing(page: Page, address: str) -> None:
    page.open(f"{address}/index.html")
    assert search(page, "qqqqqqqq") == []
    assert page.evaluate("document.querySelector('#search-status').textContent") == "No option found"
    page.evaluate("document.querySelector('#search').value = ''")
    assert len(search(page, "disk")) == 50
    assert (
        page.evaluate("document.querySelector('#search-status').textContent")
        == "600 options, the best 50 shown"
    )


def test_what_is_searched_for_stands_in_the_address_and_is_found_from_there(page: Page, address: str) -> None:
    page.open(f"{address}/index.html")
    assert page.evaluate("location.search") == ""
    search(page, "198.51 x")
    shared = page.evaluate("location.href")
    assert shared == f"{address}/index.html?q=198.51+x"
    page.open(f"{address}/boot.deep.html?q=198.51")
    page.wait_for("document.querySelectorAll('#results li').length")
    assert page.evaluate("document.querySelector('#search').value") == "198.51"
    assert page.evaluate("document.querySelector('#results .value').textContent") == '"198.51.100.7/24"'
    page.press("Enter")
    page.wait_for("location.hash === '#opt-boot.deep.address'")
    assert page.evaluate("location.href") == f"{address}/boot.deep.html#opt-boot.deep.address"


def test_an_address_with_a_question_for_another_page_is_followed(page: Page, address: str) -> None:
    page.open(f"{address}/index.html?q=disk400")
    page.wait_for("document.querySelectorAll('#results li').length")
    page.press("Enter")
    page.wait_for("location.pathname === '/boot.deep.html'")
    assert page.evaluate("location.search") == ""


@pytest.mark.parametrize("width", [375, 1280])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_guide_fits_and_is_followed_within(page: Page, address: str, scheme: str, width: int) -> None:
    page.set_scheme(scheme)
    page.set_size(width, 700)
    page.open(f"{address}/guide.html")
    assert page.evaluate("document.documentElement.scrollWidth") == width
    assert page.evaluate(
        "document.querySelector('img').complete && document.querySelector('img').naturalWidth > 0"
    )
    page.evaluate("document.querySelector('article a').click()")
    page.wait_for("location.hash === '#below'")


def shown(page: Page, anchor: str) -> bool:
    """Whether the option is at the top of what is seen, below the header, and marked."""
    state = page.evaluate(
        f"(e => ({{top: e.getBoundingClientRect().top, header: document.querySelector('header').offsetHeight,"
        f" marked: e.matches(':target') && getComputedStyle(e).boxShadow !== 'none'}}))"
        f"(document.getElementById({json.dumps(anchor)}))"
    )
    return bool(state["marked"] and state["header"] <= state["top"] < state["header"] + 60)


def test_a_result_leads_to_its_option_on_another_page(page: Page, address: str) -> None:
    page.open(f"{address}/index.html")
    search(page, "disk400")
    page.press("Enter")
    page.wait_for("location.pathname === '/boot.deep.html' && document.readyState === 'complete'")
    page.wait_for("scrollY > 1000")
    assert shown(page, "opt-boot.deep.disk400")


def test_a_result_leads_to_its_option_on_this_page_again_and_again(page: Page, address: str) -> None:
    page.open(f"{address}/boot.deep.html")
    for _ in range(2):
        page.evaluate("scrollTo(0, 0); document.querySelector('#search').value = ''")
        search(page, "disk300")
        page.press("Enter")
        page.wait_for("scrollY > 1000")
        assert shown(page, "opt-boot.deep.disk300")
    assert page.evaluate("document.activeElement.textContent") == "boot.deep.disk300"


def test_a_result_is_followed_with_the_mouse(page: Page, address: str) -> None:
    page.open(f"{address}/boot.deep.html")
    search(page, "disk123")
    page.click("#results a")
    page.wait_for("scrollY > 1000")
    assert shown(page, "opt-boot.deep.disk123")
    assert page.evaluate("document.querySelector('#found').hidden")


def test_a_shared_link_scrolls(page: Page, address: str) -> None:
    page.open("about:blank")
    page.open(f"{address}/boot.deep.html#opt-boot.deep.disk500")
    page.wait_for("scrollY > 1000")
    assert shown(page, "opt-boot.deep.disk500")


@pytest.mark.parametrize("start", ["index.html", "boot.deep.html"])
def test_a_link_with_the_wrong_page_or_none_finds_its_option(page: Page, address: str, start: str) -> None:
    page.open("about:blank")
    page.open(f"{address}/{start}#{PORT}")
    page.wait_for("location.pathname === '/services.html' && document.readyState === 'complete'")
    page.wait_for("scrollY > 0")
    assert shown(page, PORT)


def test_the_keyboard(page: Page, address: str) -> None:
    page.open(f"{address}/index.html")
    search(page, "disk")
    active = "document.querySelector('#results [aria-selected=true]')"
    pointed = (
        "document.getElementById(document.querySelector('#search').getAttribute('aria-activedescendant'))"
    )
    names = page.evaluate("[...document.querySelectorAll('#results code')].map(code => code.textContent)")
    for key, number in [("ArrowDown", 1), ("ArrowDown", 2), ("ArrowUp", 1), ("ArrowUp", 0), ("ArrowUp", 49)]:
        page.press(key)
        assert page.evaluate(f"{active}.querySelector('code').textContent") == names[number]
        assert page.evaluate(f"{active} === {pointed}")
    assert page.evaluate("document.querySelector('#search').getAttribute('aria-expanded')") == "true"
    page.press("Escape")
    assert page.evaluate("document.querySelector('#search').getAttribute('aria-expanded')") == "false"
    assert page.evaluate("document.querySelector('#found').hidden")
    page.press("Escape")
    assert page.evaluate("document.activeElement === document.body")
    page.open(f"{address}/services.html")
    page.press("Tab")
    assert page.evaluate("document.activeElement.className") == "skip"
    assert page.evaluate("document.activeElement.getBoundingClientRect().left >= 0")
    assert page.evaluate("getComputedStyle(document.activeElement).outlineStyle") != "none"


def test_pages_from_a_disk_are_searched_too(page: Page, directory: Path) -> None:
    page.open(f"{directory.as_uri()}/index.html")
    assert search(page, "squeesed")[0] == "boot.deep.compression"
    page.press("Enter")
    page.wait_for("location.pathname.endsWith('/boot.deep.html')")


@pytest.mark.parametrize("width", [320, 1280])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_nothing_sticks_out_and_the_scheme_is_followed(
    page: Page, address: str, scheme: str, width: int
) -> None:
    page.set_size(width, 700)
    page.set_scheme(scheme)
    for name in ("index.html", "services.html"):
        page.open(f"{address}/{name}")
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        red, *_ = page.evaluate("getComputedStyle(document.body).backgroundColor.match(/\\d+/g).map(Number)")
        assert (red > 128) == (scheme == "light")


def test_it_is_all_there_without_the_script(directory: Path, address: str) -> None:
    with start_browser() as page:
        page.disable_scripts()
        page.open(f"{address}/boot.deep.html#opt-boot.deep.disk500")
        page.wait_for("scrollY > 1000")
        assert shown(page, "opt-boot.deep.disk500")
        assert page.evaluate("document.querySelectorAll('section.option').length") == 602
        assert page.evaluate("getComputedStyle(document.querySelector('form')).display") == "none"
        page.open(f"{address}/index.html")
        links = page.evaluate("[...document.querySelectorAll('main a')].map(a => a.getAttribute('href'))")
        pages = {path.name for path in directory.glob("*.html")} - {"index.html"}
        assert {urldefrag(link).url for link in links} == pages
        assert page.complaints == []


class Links(HTMLParser):
    def __init__(self, text: str) -> None:
        super().__init__()
        self.ids: list[str] = []
        self.targets: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        for name, value in attrs:
            if name == "id":
                self.ids.append(value or "")
            elif name in ("href", "src"):
                self.targets.append(value or "")


def test_every_link_leads_somewhere(directory: Path) -> None:
    pages = {path.name: Links(path.read_text()) for path in directory.glob("*.html")}
    for name, links in pages.items():
        assert len(links.ids) == len(set(links.ids)), name
        for target in links.targets:
            if target.startswith(("https://", "data:,")):
                continue
            file, anchor = urldefrag(target)
            assert (directory / unquote(file or name)).is_file(), target
            assert not anchor or unquote(anchor) in pages[unquote(file or name)].ids, target
