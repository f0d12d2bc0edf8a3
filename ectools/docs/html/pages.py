"""Which options stand on which page, and the pages around them.

A module with a prefix has one page. One without, such as all of NixOS, has a page for each first part of its
options' names, and where that were very long, for the first two parts: the page of an option follows from its
name, so that links stay.
"""

from __future__ import annotations

import importlib.resources
import re
from collections import Counter, defaultdict
from typing import TYPE_CHECKING

from markdown_it.common.utils import escapeHtml as escape  # noqa: N813 - of functions here, snake_case

from ectools.docs.html import search
from ectools.docs.html.entry import write_entry
from ectools.docs.html.guides import GuideWriter, load_guides
from ectools.docs.html.text import HtmlText, quote_href
from ectools.docs.links import Links
from ectools.docs.model import make_anchor

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ectools.docs.html.guides import Guide
    from ectools.docs.model import ModuleDoc, OptionDoc
    from ectools.docs.reference import Reference
    from ectools.docs.site import Site

HTML_INDEX = "index.html"
_DEFAULT_TITLE = "Options"
_LONG = 500  # options
_ASSETS = ("style.css", "search.js")
# What is safe in a file name everywhere and in a URL; other characters become _.
_UNSAFE = re.compile(r"[^A-Za-z0-9._-]")


def write_pages(reference: Reference) -> dict[str, str | bytes]:
    """File name → content of every page and of what they use. Raises FileError, InputError."""
    layout = _Layout(reference)
    guides = load_guides(reference.site.guides, find_page=layout.reserve_page)
    files: dict[str, str | bytes] = {name: _write_page(name, layout) for name in layout.pages}
    writer = GuideWriter(guides, layout.of_modules)
    files |= {guide.page: _write_guide(guide, writer, layout) for guide in guides}
    files |= writer.pictures
    files[HTML_INDEX] = _write_index(layout, guides)
    files[search.SEARCH_FILE] = search.write_index(layout.pages)
    directory = importlib.resources.files(__package__) / "assets"
    for name in _ASSETS:
        files[name] = (directory / name).read_text(encoding="utf-8")
    return files


class _Layout:
    """Which page has what: ``pages`` by file name, with their headings and the renamed options they had."""

    def __init__(self, reference: Reference) -> None:
        self.site = reference.site
        self._taken = {HTML_INDEX}  # in lower case: some file systems know no other
        self.of_modules: dict[str, str] = {}
        self.projects: dict[str, str] = {}
        self.headings: dict[str, str] = {}
        self.pages: dict[str, list[OptionDoc]] = {}
        for module in reference.modules:
            self._place(module)
        self.by_name = {
            option.name: f"{page}#{option.anchor}"
            for page, options in self.pages.items()
            for option in options
        }
        self.by_anchor = {target.partition("#")[2]: target for target in self.by_name.values()}
        self.moved: dict[str, list[tuple[str, str]]] = defaultdict(list)
        for old, new in reference.redirects.items():
            page = self._page_of_former(old)
            self.by_anchor.setdefault(make_anchor(old), self.by_name[new])
            if page != self.by_name[new].partition("#")[0]:
                self.moved[page].append((old, new))

    def _place(self, module: ModuleDoc) -> None:
        if module.prefix:
            name = self._new_page(module.name, module.prefix, module)
            self.pages[name] = list(module.options)
            self.of_modules[module.name] = name
            return
        first = Counter(option.path[0] for option in module.options)
        groups: dict[tuple[str, ...], list[OptionDoc]] = defaultdict(list)
        for option in module.options:
            length = 2 if first[option.path[0]] > _LONG and len(option.path) > 2 else 1
            groups[option.path[:length]].append(option)
        for path, options in sorted(groups.items()):
            name = self._new_page(".".join(path), ".".join(path), module)
            self.pages[name] = options

    def _new_page(self, stem: str, heading: str, module: ModuleDoc) -> str:
        name = self.reserve_page(stem)
        self.headings[name] = heading
        self.projects[name] = module.project
        return name

    def reserve_page(self, stem: str) -> str:
        """A name that no other page has."""
        stem = _UNSAFE.sub("_", stem)
        name, number = f"{stem}.html", 1
        while name.lower() in self._taken:
            number += 1
            name = f"{stem}-{number}.html"
        self._taken.add(name.lower())
        return name

    def _page_of_former(self, old: str) -> str:
        """The page where the option stood, as far as there is one today."""
        fitting = [page for page, heading in self.headings.items() if f"{old}.".startswith(f"{heading}.")]
        return max(fitting, key=lambda page: len(self.headings[page]), default=HTML_INDEX)

    def links_from(self, page: str) -> Links:
        return Links(self.by_name, self.by_anchor, page)


def _write_page(name: str, layout: _Layout) -> str:
    options, heading = layout.pages[name], layout.headings[name]
    text = HtmlText(layout.links_from(name))
    items = "\n".join(
        f'<li><a href="#{escape(option.anchor)}">{escape(_shorten(option.name, heading))}</a></li>'
        for option in options
    )
    entries = "".join(write_entry(option, text) for option in options)
    return _write_html(
        heading,
        layout.site,
        contents=_CONTENTS.format(items=items),
        main=f"<h1>{escape(heading)}</h1>\n<p>{_count(options)}</p>\n{entries}{_write_moved(name, layout)}",
    )


def _write_html(title: str, site: Site, *, main: str, contents: str = "") -> str:
    own = title if site.title in (title, _DEFAULT_TITLE) else f"{title} · {site.title}"
    return _TEMPLATE.format(title=escape(own), site=escape(site.title), contents=contents, main=main)


def _write_guide(guide: Guide, writer: GuideWriter, layout: _Layout) -> str:
    html, headings = writer.write(guide)
    items = "\n".join(
        f'<li class="level{level}"><a href="#{escape(quote_href(anchor))}">{escape(text)}</a></li>'
        for level, anchor, text in headings
        if level in (2, 3)
    )
    contents = _CONTENTS.format(items=items) if items else ""
    return _write_html(
        guide.title, layout.site, contents=contents, main=f'<article class="guide">\n{html}</article>\n'
    )


def _shorten(name: str, heading: str) -> str:
    return name.removeprefix(f"{heading}.")


def _count(options: Sequence[OptionDoc]) -> str:
    return "1 option" if len(options) == 1 else f"{len(options)} options"


def _write_moved(page: str, layout: _Layout) -> str:
    """Entries for options that stood here once, with the anchors that they had."""
    moved = sorted(layout.moved.get(page, ()))
    if not moved:
        return ""
    text = HtmlText(layout.links_from(page))
    items = "\n".join(
        f'<li id="{escape(make_anchor(old))}"><code>{escape(old)}</code> is now {text.option(new)}</li>'
        for old, new in moved
    )
    return f'<section class="moved"><h2>Renamed options</h2>\n<ul>\n{items}\n</ul></section>\n'


def _write_index(layout: _Layout, guides: Sequence[Guide]) -> str:
    total = sum(map(len, layout.pages.values()))
    site = layout.site
    version = f"Version {escape(site.version)}, " if site.version else ""
    lists = [
        (f"<h2>{escape(project)}</h2>\n" if project else "")
        + _write_list(project, layout, small=total <= _LONG)
        for project in dict.fromkeys(layout.projects.values())
    ]
    if guides and not any(layout.projects.values()):
        lists.insert(0, "<h2>Options</h2>\n")
    main = [
        f"<h1>{escape(site.title)}</h1>\n<p>{version}{total} options</p>\n",
        _write_guide_list(guides),
        *lists,
        _write_moved(HTML_INDEX, layout),
    ]
    return _write_html(site.title, site, main="".join(main))


def _write_guide_list(guides: Sequence[Guide]) -> str:
    if not guides:
        return ""
    items = "\n".join(
        f'<li><a href="{escape(quote_href(guide.page))}">{escape(guide.title)}</a>\n'
        f"<p>{escape(guide.summary)}</p></li>"
        for guide in guides
    )
    return f'<h2>Guides</h2>\n<ul class="guides">\n{items}\n</ul>\n'


def _write_list(project: str, layout: _Layout, *, small: bool) -> str:
    """The pages of a project's options."""
    groups: dict[str, list[str]] = defaultdict(list)
    for page, heading in layout.headings.items():
        if layout.projects[page] == project:
            groups[heading.partition(".")[0]].append(page)
    items = "\n".join(_write_group(group, pages, layout, small=small) for group, pages in groups.items())
    return f'<ul class="pages">\n{items}\n</ul>\n'


def _write_group(group: str, pages: Sequence[str], layout: _Layout, *, small: bool) -> str:
    """The pages of one first part of the names; with their options where there are few in all."""
    if small:
        return "\n".join(_write_page_with_options(page, layout) for page in pages)
    if len(pages) == 1:
        return f"<li>{_link_page(pages[0], layout)}</li>"
    inner = "\n".join(f"<li>{_link_page(page, layout)}</li>" for page in pages)
    count = sum(len(layout.pages[page]) for page in pages)
    return (
        f"<li><details><summary>{escape(group)} <small>{count}</small></summary>\n"
        f"<ul>\n{inner}\n</ul></details></li>"
    )


def _write_page_with_options(page: str, layout: _Layout) -> str:
    items = "\n".join(
        f'<li><a href="{escape(quote_href(f"{page}#{option.anchor}"))}">'
        f"{escape(_shorten(option.name, layout.headings[page]))}</a></li>"
        for option in layout.pages[page]
    )
    return f"<li>{_link_page(page, layout)}\n<ul>\n{items}\n</ul></li>"


def _link_page(page: str, layout: _Layout) -> str:
    heading, count = escape(layout.headings[page]), len(layout.pages[page])
    return f'<a href="{escape(quote_href(page))}">{heading}</a> <small>{count}</small>'


_CONTENTS = """\
<nav aria-label="On this page">
<details open>
<summary>On this page</summary>
<ul>
{items}
</ul>
</details>
</nav>
"""

# The search has no meaning without the script, which shows it.
_TEMPLATE = """\
<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>{title}</title>
<link rel="icon" href="data:,">
<link rel="stylesheet" href="style.css">
<script src="search.js" defer></script>
</head>
<body>
<a class="skip" href="#main">Skip to the content</a>
<header>
<a class="home" href="index.html">{site}</a>
<form role="search" hidden>
<label for="search">Search options</label>
<input id="search" type="search" role="combobox" aria-expanded="false" aria-controls="results"
 aria-autocomplete="list" autocomplete="off" autocapitalize="off" spellcheck="false"
 placeholder="Name, words, or nearly so">
<kbd aria-hidden="true">/</kbd>
<div id="found" hidden>
<p id="search-status" role="status"></p>
<ul id="results" role="listbox" aria-label="Options found"></ul>
</div>
</form>
</header>
<div class="columns">
{contents}<main id="main">
{main}</main>
</div>
</body>
</html>
"""
